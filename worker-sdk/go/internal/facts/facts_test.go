package facts

import (
	"os"
	"path/filepath"
	"testing"
)

func TestTheMediaTypeIsThatOfTheContent(t *testing.T) {
	for name, c := range map[string]struct{ content, mime, extension string }{
		"picture.txt": {"\x89PNG\r\n\x1a\n0000", "image/png", "txt"},
		"sub.en.srt":  {"1\n00:00:01,000 --> 00:00:02,000\nHi\n", "application/x-subrip", "srt"},
		"empty.MKV":   {"", "inode/x-empty", "mkv"},
		"thing":       {"\x00\x01\x02", Unknown, ""},
		"film.bin":    {"\x1a\x45\xdf\xa3....matroska", "video/x-matroska", "bin"},
		"notes.txt":   {"hello\n", "text/plain", "txt"},
		".hidden":     {"hello\n", "text/plain", ""},
		"a.TIF":       {"II*\x00....", "image/tiff", "tif"},
		"bad\xff.txt": {"hello\n", "text/plain", "txt"},
		"binary.txt":  {"\x00\x01\x02", Unknown, "txt"},
	} {
		path := filepath.Join(t.TempDir(), name)
		if err := os.WriteFile(path, []byte(c.content), 0o600); err != nil {
			t.Fatal(err)
		}
		got, err := OfFile(path)
		if err != nil || got.Mime != c.mime || got.Size != uint64(len(c.content)) || got.Extension != c.extension || got.Modified == "" {
			t.Errorf("%q: %+v, %v", name, got, err)
		}
	}
}

func TestWhatIsNoFileIsDescribedByItsName(t *testing.T) {
	got, err := OfFile(t.TempDir())
	if err != nil || got.Mime != Unknown || got.Size != 0 {
		t.Errorf("%+v, %v", got, err)
	}
	if _, err := OfFile("/none/there"); err == nil {
		t.Error("a file that is not there has facts")
	}
}
