package main

import (
	"encoding/binary"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	metafleet "github.com/metafleet/metafleet/worker-sdk/go"
	"github.com/metafleet/metafleet/worker-sdk/go/metafleettest"
)

func run(t testing.TB, content []byte) *metafleettest.Report {
	t.Helper()
	return runOn(t, metafleettest.New(t, imageExif{}), content)
}

func runWithThumbnail(t testing.TB, content []byte) *metafleettest.Report {
	t.Helper()
	return runOn(t, metafleettest.New(t, imageExif{}).Setting("thumbnails", true), content)
}

func runOn(t testing.TB, bench *metafleettest.Bench, content []byte) *metafleettest.Report {
	t.Helper()
	path := filepath.Join(t.TempDir(), "picture")
	if err := os.WriteFile(path, content, 0o600); err != nil {
		t.Fatal(err)
	}
	return bench.Run(path)
}

// camera is what all files of the test say.
var camera = map[string]string{
	"image/camera/make": "Apple", "image/camera/model": "iPhone 15 Pro", "image/lens/make": "Apple", "image/lens/model": "back camera 6.765mm f/1.78",
	"image/taken": "2026-02-19T14:22:37-08:00", "image/exposure/time": "1/60", "image/exposure/aperture": "1.78", "image/exposure/iso": "400",
	"image/exposure/bias": "-0.67", "image/exposure/flash": "true", "image/exposure/focalLength": "6.75", "image/exposure/focalLength35mm": "24",
	"image/gps/latitude": "-33.869667", "image/gps/longitude": "151.21", "image/gps/altitude": "-12.3", "image/orientation": "6",
	"image/software": "26.3", "image/description": "A harbour", "image/copyright": "© Jo Doe", "image/creators": `["Jo Doe"]`,
}

func shown(report *metafleettest.Report) map[string]string {
	all := map[string]string{}
	for _, key := range report.Keys() {
		value, _ := report.Value(key)
		all[key] = value.String()
	}
	return all
}

func compare(t *testing.T, name string, report *metafleettest.Report, want map[string]string) {
	t.Helper()
	got := shown(report)
	for _, key := range slices.Sorted(maps.Keys(want)) {
		if got[key] != want[key] {
			t.Errorf("%s: %s is `%s`, not `%s`", name, key, got[key], want[key])
		}
	}
	for key, value := range got {
		if _, expected := want[key]; !expected {
			t.Errorf("%s: %s is `%s`, nobody expects it", name, key, value)
		}
	}
	if report.Err != nil {
		t.Errorf("%s: %v", name, report.Err)
	}
}

func TestCameraDataIsReadFromAllFormatsInBothByteOrders(t *testing.T) {
	sized := maps.Clone(camera)
	sized["image/width"], sized["image/height"] = "48", "32"
	for name, o := range map[string]order{"little": binary.LittleEndian, "big": binary.BigEndian} {
		tiff := tiffFile(o)
		compare(t, name+" JPEG", run(t, jpegFile(t, exifSegment(tiff))), sized)
		compare(t, name+" PNG", run(t, pngFile(t, pngChunk("eXIf", tiff))), sized)
		compare(t, name+" WebP", run(t, webpFile(t, tiff)), sized)
		compare(t, name+" HEIC", run(t, heicFile(tiff)), sized)
		compare(t, name+" TIFF", run(t, tiffFile(o, long(o, 0x0100, 48), long(o, 0x0101, 32))), sized)
	}
}

const packet = `<?xpacket begin="" id="W5M0MpCehiHzreSzNTczkc9d"?><x:xmpmeta xmlns:x="adobe:ns:meta/">
<rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#"><rdf:Description rdf:about="" xmlns:dc="http://purl.org/dc/elements/1.1/"
 xmlns:xmp="http://ns.adobe.com/xap/1.0/" xmlns:tiff="http://ns.adobe.com/tiff/1.0/" xmp:Rating="4" xmp:CreateDate="2020-01-02T03:04:05+09:00"
 tiff:Model="X100"><dc:title><rdf:Alt><rdf:li xml:lang="x-default">富士山 &amp; lake</rdf:li></rdf:Alt></dc:title>
<dc:subject><rdf:Bag><rdf:li>mountain</rdf:li><rdf:li>lake</rdf:li></rdf:Bag></dc:subject></rdf:Description></rdf:RDF></x:xmpmeta>`

func TestWhatEditorsWriteIsReadToo(t *testing.T) {
	report := run(t, jpegFile(t, xmpSegment(packet), iptcSegment(map[byte][]string{5: {"another title"}, 25: {"lake", "Japan"}, 80: {"Jo Doe"}})))
	compare(t, "XMP and IPTC", report, map[string]string{
		"image/width": "48", "image/height": "32", "image/title": "富士山 & lake", "image/keywords": `["Japan","lake","mountain"]`,
		"image/rating": "4", "image/taken": "2020-01-02T03:04:05+09:00", "image/camera/model": "X100", "image/creators": `["Jo Doe"]`,
	})
}

func TestAPictureWithoutCameraDataHasItsSize(t *testing.T) {
	for name, content := range map[string][]byte{"JPEG": jpegFile(t), "PNG": pngFile(t)} {
		compare(t, name, run(t, content), map[string]string{"image/width": "48", "image/height": "32"})
	}
}

func TestWhatIsNoPictureIsSkipped(t *testing.T) {
	for _, content := range []string{"", "x", "hello, world", "%PDF-1.7", "RIFF\x00\x00\x00\x00WAVE", "\x00\x00\x00\x18ftypmp42\x00\x00\x00\x00"} {
		if report := run(t, []byte(content)); report.Err != nil || !strings.HasPrefix(report.Outcome.String(), "skipped") {
			t.Errorf("%q: %v, %v", content, report.Outcome, report.Err)
		}
	}
	report := metafleettest.New(t, imageExif{}).Run("/none/there")
	if report.Err == nil || metafleet.IsPermanent(report.Err) {
		t.Errorf("a file that is not there may come back: %v", report.Err)
	}
}

func TestWhatCannotBeTrueIsLeftOut(t *testing.T) {
	o := binary.LittleEndian
	for name, c := range map[string]struct {
		exif, gps []tag
		absent    []string
	}{
		"no signal":     {nil, []tag{ascii(1, "N"), rationals(o, 2, kindRational, 0, 1, 0, 1, 0, 1), ascii(3, "E"), rationals(o, 4, kindRational, 0, 1, 0, 1, 0, 1)}, []string{"image/gps/latitude"}},
		"half a place":  {nil, []tag{ascii(1, "N"), rationals(o, 2, kindRational, 10, 1, 0, 1, 0, 1)}, []string{"image/gps/latitude", "image/gps/longitude"}},
		"over the pole": {nil, []tag{ascii(1, "N"), rationals(o, 2, kindRational, 91, 1, 0, 1, 0, 1), ascii(3, "E"), rationals(o, 4, kindRational, 1, 1, 0, 1, 0, 1)}, []string{"image/gps/latitude"}},
		"no time":       {[]tag{ascii(0x9003, "0000:00:00 00:00:00")}, nil, []string{"image/taken"}},
		"odd time":      {[]tag{ascii(0x9003, "2026:13:41 99:00:00")}, nil, []string{"image/taken"}},
		"by zero":       {[]tag{rationals(o, 0x829a, kindRational, 1, 0), rationals(o, 0x829d, kindRational, 0, 0)}, nil, []string{"image/exposure/time", "image/exposure/aperture"}},
	} {
		file := []byte("II*\x00\x00\x00\x00\x00")
		var exif, gps, main uint32
		file, exif = appendIFD(file, o, 0, c.exif...)
		file, gps = appendIFD(file, o, 0, c.gps...)
		file, main = appendIFD(file, o, 0, ascii(0x010f, "Apple"), long(o, 0x8769, exif), long(o, 0x8825, gps))
		o.PutUint32(file[4:], main)
		report := run(t, jpegFile(t, exifSegment(file)))
		for _, key := range c.absent {
			if value, found := report.Value(key); found {
				t.Errorf("%s: %s is %s", name, key, value)
			}
		}
		if report.Err != nil || report.Text("image/width") != "48" {
			t.Errorf("%s: %v, %v", name, report.Err, shown(report))
		}
	}
}
