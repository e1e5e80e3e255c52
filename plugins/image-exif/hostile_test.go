package main

import (
	"bytes"
	"compress/zlib"
	"encoding/binary"
	"encoding/json"
	"math/rand/v2"
	"runtime"
	"strings"
	"testing"
	"time"

	metafleet "github.com/metafleet/metafleet/worker-sdk/go"
)

// survive runs a hostile file: it must come to an end that is not tried again, soon and in little memory.
func survive(t *testing.T, name string, content []byte) {
	t.Helper()
	began := time.Now()
	report := runWithThumbnail(t, content)
	if report.Err != nil && !metafleet.IsPermanent(report.Err) {
		t.Errorf("%s: it would be tried again: %v", name, report.Err)
	}
	if took := time.Since(began); took > 15*time.Second {
		t.Errorf("%s: it took %v", name, took)
	}
	for _, key := range report.Keys() {
		if value, _ := report.Value(key); len(value.String()) > 2<<20 {
			t.Errorf("%s: %s has %d bytes", name, key, len(value.String()))
		}
	}
}

// samples are good files of all formats.
func samples(t testing.TB) map[string][]byte {
	tiff, thumb := tiffFile(binary.BigEndian), small(t, 16, 12)
	return map[string][]byte{
		"JPEG": jpegFile(t, exifSegment(tiff), xmpSegment(packet), iptcSegment(map[byte][]string{25: {"lake"}})), "PNG": pngFile(t, pngChunk("eXIf", tiff)),
		"WebP": webpFile(t, tiff), "HEIC": heicFile(tiff), "TIFF": tiffFile(binary.LittleEndian),
		"thumbnail": jpegFile(t, exifSegment(tiffWith(binary.LittleEndian, thumb, uint32(len(thumb))))),
	}
}

func TestFilesThatAreCutOffAnywhere(t *testing.T) {
	for name, whole := range samples(t) {
		for cut := 0; cut < len(whole); cut += 1 + len(whole)/150 {
			survive(t, name, whole[:cut])
		}
	}
}

func TestFilesWithWrongBytes(t *testing.T) {
	random := rand.New(rand.NewPCG(4, 2026))
	all := samples(t)
	for _, name := range []string{"HEIC", "JPEG", "PNG", "TIFF", "WebP", "thumbnail"} {
		for range 300 {
			content := bytes.Clone(all[name])
			for range 1 + random.IntN(12) {
				content[random.IntN(len(content))] = byte(random.Uint32())
			}
			survive(t, name, content)
		}
	}
}

func TestIFDsThatGoRoundInCircles(t *testing.T) {
	o := binary.LittleEndian
	head := []byte("II*\x00\x08\x00\x00\x00")
	self, _ := appendIFD(head, o, 8, ascii(0x010f, "Apple"))                                                                 // the next one is itself
	inner, _ := appendIFD(head, o, 0, long(o, 0x8769, 8), long(o, 0x8825, 8), long(o, 0xa005, 8))                            // all inner ones are the outer one
	far, _ := appendIFD(head, o, 0xfffffff0, long(o, 0x8769, 0xffffffff))                                                    // behind the end
	many, _ := appendIFD(head, o, 8, append(make([]tag, 0), long(o, 0x014a, 8), long(o, 0x8769, 8), short(o, 0x0112, 1))...) // SubIFDs
	for name, tiff := range map[string][]byte{"self": self, "inner": inner, "far": far, "many": many} {
		survive(t, name+", TIFF", tiff)
		survive(t, name+", JPEG", jpegFile(t, exifSegment(tiff)))
		survive(t, name+", PNG", pngFile(t, pngChunk("eXIf", tiff)))
	}
}

func TestCountsAndSizesThatAreHuge(t *testing.T) {
	o := binary.LittleEndian
	huge := func(id, kind uint16) tag { return tag{id, kind, 0xffffffff, o.AppendUint32(nil, 8)} }
	tiff, _ := appendIFD([]byte("II*\x00\x08\x00\x00\x00"), o, 0, huge(0x010f, kindASCII), huge(0x0110, kindLong), huge(0x0131, kindRational), huge(0x8298, kindByte))
	entries := append([]byte("II*\x00\x08\x00\x00\x00\xff\xff"), bytes.Repeat([]byte("\x0f\x01\x02\x00\xff\xff\xff\x7f\x08\x00\x00\x00"), 5000)...)
	var before runtime.MemStats
	runtime.ReadMemStats(&before)
	for name, content := range map[string][]byte{
		"tags": tiff, "tags in JPEG": jpegFile(t, exifSegment(tiff)), "entries": entries,
		"chunk":   append([]byte("\x89PNG\r\n\x1a\n"), "\xff\xff\xff\xffeXIf"...),
		"RIFF":    []byte("RIFF\xff\xff\xff\xffWEBPEXIF\xff\xff\xff\x7f"),
		"box":     []byte("\x00\x00\x00\x18ftypheic\x00\x00\x00\x00mif1heic\xff\xff\xff\xffmeta\x00\x00\x00\x00"),
		"big box": []byte("\x00\x00\x00\x18ftypheic\x00\x00\x00\x00mif1heic\x00\x00\x00\x01meta\xff\xff\xff\xff\xff\xff\xff\xff"),
		"bomb":    pngFile(t, pngChunk("zTXt", bomb(t, "Raw profile type iptc\x00\x00")), pngChunk("iTXt", bomb(t, "XML:com.adobe.xmp\x00\x01\x00\x00\x00"))),
		"deep":    jpegFile(t, xmpSegment(strings.Repeat("<a>", 20_000))),
	} {
		survive(t, name, content)
	}
	var after runtime.MemStats
	runtime.ReadMemStats(&after)
	if grown := after.TotalAlloc - before.TotalAlloc; grown > 1<<30 {
		t.Errorf("%d MiB were taken", grown>>20)
	}
}

// bomb is a text of a gigabyte in a megabyte.
func bomb(t *testing.T, head string) []byte {
	t.Helper()
	out := bytes.NewBufferString(head)
	writer, err := zlib.NewWriterLevel(out, zlib.BestSpeed)
	if err != nil {
		t.Fatal(err)
	}
	zeros := make([]byte, 1<<20)
	for range 256 {
		if _, err := writer.Write(zeros); err != nil {
			t.Fatal(err)
		}
	}
	if err := writer.Close(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

func FuzzPictures(f *testing.F) {
	for _, content := range samples(f) {
		f.Add(content)
	}
	f.Fuzz(func(t *testing.T, content []byte) {
		format := formatOfHead(content)
		if format == unknownFormat {
			return
		}
		began := time.Now()
		found, _ := decode(&frugal{ctx: t.Context(), file: bytes.NewReader(content)}, format, true)
		if _, err := json.Marshal(found.meta()); err != nil || time.Since(began) > 15*time.Second {
			t.Errorf("%v after %v", err, time.Since(began))
		}
	})
}
