package main

import (
	"bytes"
	"encoding/binary"
	"image"
	"image/jpeg"
	"testing"
)

// small is a real JPEG of so many pixels.
func small(t testing.TB, width, height int) []byte {
	t.Helper()
	var out bytes.Buffer
	if err := jpeg.Encode(&out, image.NewGray(image.Rect(0, 0, width, height)), nil); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

// tiffWith is an EXIF block with a second IFD that speaks of a thumbnail behind everything else.
func tiffWith(o order, content []byte, length uint32) []byte {
	file := []byte("II*\x00\x00\x00\x00\x00")
	if o.Uint16([]byte{0, 1}) == 1 {
		file = []byte("MM\x00*\x00\x00\x00\x00")
	}
	const ifd = 2 + 3*12 + 4
	file, second := appendIFD(file, o, 0, short(o, 0x0103, 6), long(o, 0x0201, uint32(len(file)+ifd)), long(o, 0x0202, length))
	file = append(file, content...)
	// What has the same number in the first IFD is something else.
	file, main := appendIFD(file, o, second, ascii(0x010f, "Apple"), long(o, 0x5018, 3))
	o.PutUint32(file[4:], main)
	return file
}

func TestAThumbnailIsKeptWhereTheSettingsSaySo(t *testing.T) {
	content := small(t, 160, 120)
	for name, o := range map[string]order{"little": binary.LittleEndian, "big": binary.BigEndian} {
		tiff := tiffWith(o, content, uint32(len(content)))
		for format, file := range map[string][]byte{
			"JPEG": jpegFile(t, exifSegment(tiff)), "late in JPEG": jpegFile(t, xmpSegment(packet), exifSegment(tiff)),
			"WebP": webpFile(t, tiff), "HEIC": heicFile(tiff),
		} {
			report := runWithThumbnail(t, file)
			kept, found := report.Artifact("thumbnail.jpg")
			if report.Err != nil || !found || !bytes.Equal(kept.Data, content) || kept.MediaType != "image/jpeg" || report.Text("image/camera/make") != "Apple" {
				t.Errorf("%s, %s: %v, %v, %d bytes", format, name, report.Err, shown(report), len(kept.Data))
				continue
			}
			if value, _ := report.Value("image/thumbnail"); !bytes.Contains(value.JSON(), []byte(kept.SHA256)) {
				t.Errorf("%s, %s: %s", format, name, value)
			}
			without := run(t, file)
			if _, said := without.Value("image/thumbnail"); said || len(without.Artifacts) != 0 || without.Err != nil {
				t.Errorf("%s, %s: nobody asked for it: %v", format, name, shown(without))
			}
		}
	}
}

func TestWhatIsNoSmallPictureIsNotKept(t *testing.T) {
	o := binary.LittleEndian
	content := small(t, 160, 120)
	whole := uint32(len(content))
	wide, tall := small(t, mostThumbnailSide+1, 8), small(t, 8, mostThumbnailSide+1)
	large := append(bytes.Clone(content), make([]byte, mostThumbnail)...)
	for name, tiff := range map[string][]byte{
		"empty":   tiffWith(o, content, 0),
		"no JPEG": tiffWith(o, []byte("hello, world"), 12),
		"behind":  tiffWith(o, content, whole+1<<16),
		"huge":    tiffWith(o, content, 0xffffffff),
		"large":   tiffWith(o, large, uint32(len(large))),
		"wide":    tiffWith(o, wide, uint32(len(wide))),
		"tall":    tiffWith(o, tall, uint32(len(tall))),
		"cut off": tiffWith(o, content, 20),
	} {
		report := runWithThumbnail(t, webpFile(t, tiff)) // its blocks may be large
		if report.Err != nil || len(report.Artifacts) != 0 || report.Text("image/camera/make") != "Apple" || report.Text("image/problem") != "" {
			t.Errorf("%s: %v, %v, %d kept", name, report.Err, shown(report), len(report.Artifacts))
		}
	}
	tiff := tiffWith(o, content, whole)
	for name, file := range map[string][]byte{"TIFF": tiff, "PNG": pngFile(t, pngChunk("eXIf", tiff))} {
		if report := runWithThumbnail(t, file); report.Err != nil || len(report.Artifacts) != 0 || report.Text("image/camera/make") != "Apple" {
			t.Errorf("%s: %v, %v", name, report.Err, shown(report))
		}
	}
}
