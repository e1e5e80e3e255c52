package facts

import (
	"bytes"
	"net/http"
	"strings"
)

// Mime is the media type of a file with this extension that begins so: its content decides, its name only
// where the content is silent.
func Mime(extension string, head []byte) string {
	if len(head) == 0 {
		return "inode/x-empty"
	}
	for _, magic := range magics {
		if at := magic.at; len(head) >= at+len(magic.bytes) && string(head[at:at+len(magic.bytes)]) == magic.bytes {
			return magic.mime
		}
	}
	if kind := container(head); kind != "" {
		return kind
	}
	byName, named := byExtension[extension]
	sniffed, _, _ := strings.Cut(http.DetectContentType(head), ";")
	switch {
	case strings.HasPrefix(sniffed, "text/"):
		if named && isText(byName) {
			return byName
		}
		return sniffed
	case sniffed == "application/x-gzip":
		return "application/gzip"
	case sniffed != Unknown:
		return sniffed
	case named && !isText(byName):
		return byName
	default:
		return Unknown
	}
}

func isText(mime string) bool {
	return strings.HasPrefix(mime, "text/") || mime == "application/x-subrip" || mime == "application/json" || mime == "application/xml"
}

// magics are what net/http does not know.
var magics = []struct {
	at    int
	bytes string
	mime  string
}{
	{0, "fLaC", "audio/x-flac"},
	{0, "II*\x00", "image/tiff"},
	{0, "MM\x00*", "image/tiff"},
	{4, "ftypheic", "image/heif"},
	{4, "ftypheix", "image/heif"},
	{4, "ftypmif1", "image/heif"},
	{4, "ftypavif", "image/avif"},
	{4, "ftypM4A ", "audio/m4a"},
	{4, "ftypqt  ", "video/quicktime"},
	{0, "7z\xbc\xaf'\x1c", "application/x-7z-compressed"},
	{0, "\xfd7zXZ\x00", "application/x-xz"},
	{257, "ustar", "application/x-tar"},
}

// container tells formats apart that share a beginning.
func container(head []byte) string {
	switch {
	case bytes.HasPrefix(head, []byte("\x1a\x45\xdf\xa3")):
		if bytes.Contains(head[:min(len(head), 1024)], []byte("webm")) {
			return "video/webm"
		}
		return "video/x-matroska"
	case bytes.HasPrefix(head, []byte("OggS")):
		if bytes.Contains(head, []byte("\x80theora")) {
			return "video/ogg"
		}
		return "audio/ogg"
	}
	return ""
}

// byExtension holds the types of which the content says no more than "text" or nothing at all.
var byExtension = map[string]string{
	"txt": "text/plain", "md": "text/markdown", "csv": "text/csv", "html": "text/html", "htm": "text/html", "css": "text/css",
	"srt": "application/x-subrip", "vtt": "text/vtt", "ass": "text/x-ssa", "ssa": "text/x-ssa", "nfo": "text/x-nfo", "log": "text/plain",
	"json": "application/json", "xml": "application/xml", "mp3": "audio/mpeg", "aac": "audio/aac", "m4a": "audio/m4a",
	"mp4": "video/mp4", "mkv": "video/x-matroska", "ts": "video/mp2t", "avi": "video/x-msvideo", "iso": "application/x-iso9660-image",
	"jpg": "image/jpeg", "jpeg": "image/jpeg", "png": "image/png", "zip": "application/zip", "rar": "application/vnd.rar",
}
