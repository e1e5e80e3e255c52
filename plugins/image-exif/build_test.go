package main

import (
	"bytes"
	"encoding/base64"
	"encoding/binary"
	"hash/crc32"
	"image"
	"image/color"
	"image/jpeg"
	"image/png"
	"testing"
)

// tag is one entry of an IFD, with its value as bytes.
type tag struct {
	id, kind uint16
	count    uint32
	value    []byte
}

const (
	kindByte, kindASCII, kindShort, kindLong, kindRational, kindSRational = 1, 2, 3, 4, 5, 10
)

// order is how the test writes numbers.
type order interface {
	binary.ByteOrder
	binary.AppendByteOrder
}

func ascii(id uint16, text string) tag {
	return tag{id, kindASCII, uint32(len(text) + 1), append([]byte(text), 0)}
}

func short(o order, id, value uint16) tag { return tag{id, kindShort, 1, o.AppendUint16(nil, value)} }

func long(o order, id uint16, value uint32) tag {
	return tag{id, kindLong, 1, o.AppendUint32(nil, value)}
}

func rationals(o order, id, kind uint16, numbers ...uint32) tag {
	var value []byte
	for _, number := range numbers {
		value = o.AppendUint32(value, number)
	}
	return tag{id, kind, uint32(len(numbers) / 2), value}
}

// appendIFD writes an IFD at the end of a TIFF file, its values behind it, and gives where it begins.
func appendIFD(file []byte, o order, next uint32, tags ...tag) ([]byte, uint32) {
	begin := uint32(len(file))
	behind := begin + 2 + 12*uint32(len(tags)) + 4
	var values []byte
	file = o.AppendUint16(file, uint16(len(tags)))
	for _, t := range tags {
		file = o.AppendUint16(o.AppendUint16(file, t.id), t.kind)
		file = o.AppendUint32(file, t.count)
		if len(t.value) <= 4 {
			file = append(file, append(bytes.Clone(t.value), make([]byte, 4-len(t.value))...)...)
			continue
		}
		file = o.AppendUint32(file, behind+uint32(len(values)))
		values = append(values, t.value...)
		if len(values)%2 == 1 {
			values = append(values, 0)
		}
	}
	return append(o.AppendUint32(file, next), values...), begin
}

// tiffFile writes a TIFF file with camera data: an EXIF block is one, too.
func tiffFile(o order, more ...tag) []byte {
	file := []byte("II*\x00\x00\x00\x00\x00")
	if o.Uint16([]byte{0, 1}) == 1 {
		file = []byte("MM\x00*\x00\x00\x00\x00")
	}
	var exif, gps, main uint32
	file, exif = appendIFD(file, o, 0,
		rationals(o, 0x829a, kindRational, 1, 60), rationals(o, 0x829d, kindRational, 178, 100), short(o, 0x8827, 400),
		ascii(0x9003, "2026:02:19 14:22:37"), ascii(0x9011, "-08:00"), rationals(o, 0x9204, kindSRational, 0xfffffffe, 3), short(o, 0x9209, 25),
		rationals(o, 0x920a, kindRational, 27, 4), short(o, 0xa405, 24), ascii(0xa433, "Apple"), ascii(0xa434, "back camera 6.765mm f/1.78"))
	file, gps = appendIFD(file, o, 0,
		ascii(1, "S"), rationals(o, 2, kindRational, 33, 1, 52, 1, 1080, 100), ascii(3, "E"), rationals(o, 4, kindRational, 151, 1, 12, 1, 3600, 100),
		tag{5, kindByte, 1, []byte{1}}, rationals(o, 6, kindRational, 123, 10))
	tags := append([]tag{
		ascii(0x010e, "  A harbour\x00\x00"), ascii(0x010f, "Apple"), ascii(0x0110, "iPhone 15 Pro"), short(o, 0x0112, 6), ascii(0x0131, "26.3"),
		ascii(0x013b, "Jo Doe"), ascii(0x8298, "© Jo Doe"), long(o, 0x8769, exif), long(o, 0x8825, gps),
	}, more...)
	file, main = appendIFD(file, o, 0, tags...)
	o.PutUint32(file[4:], main)
	return file
}

func picture() image.Image {
	p := image.NewRGBA(image.Rect(0, 0, 48, 32))
	for i := range p.Pix {
		p.Pix[i] = byte(i * 7)
	}
	p.Set(0, 0, color.White)
	return p
}

func segment(marker byte, content []byte) []byte {
	return append(binary.BigEndian.AppendUint16([]byte{0xff, marker}, uint16(len(content)+2)), content...)
}

// jpegFile is a real picture with these segments in front.
func jpegFile(t testing.TB, segments ...[]byte) []byte {
	t.Helper()
	var out bytes.Buffer
	if err := jpeg.Encode(&out, picture(), nil); err != nil {
		t.Fatal(err)
	}
	file := bytes.Clone(out.Bytes()[:2])
	return append(append(file, bytes.Join(segments, nil)...), out.Bytes()[2:]...)
}

func exifSegment(tiff []byte) []byte { return segment(0xe1, append([]byte("Exif\x00\x00"), tiff...)) }

func xmpSegment(packet string) []byte {
	return segment(0xe1, []byte("http://ns.adobe.com/xap/1.0/\x00"+packet))
}

// iptcSegment writes data sets of the application record.
func iptcSegment(sets map[byte][]string) []byte {
	data := []byte("\x1c\x01\x5a\x00\x03\x1b%G") // UTF-8
	for _, number := range []byte{5, 25, 80} {
		for _, text := range sets[number] {
			data = append(data, 0x1c, 2, number)
			data = append(binary.BigEndian.AppendUint16(data, uint16(len(text))), text...)
		}
	}
	block := append([]byte("Photoshop 3.0\x008BIM\x04\x04\x00\x00"), binary.BigEndian.AppendUint32(nil, uint32(len(data)))...)
	block = append(block, data...)
	if len(data)%2 == 1 {
		block = append(block, 0)
	}
	return segment(0xed, block)
}

func pngChunk(name string, content []byte) []byte {
	chunk := append(binary.BigEndian.AppendUint32(nil, uint32(len(content))), name...)
	chunk = append(chunk, content...)
	return binary.BigEndian.AppendUint32(chunk, crc32.ChecksumIEEE(chunk[4:]))
}

// pngFile is a real picture with these chunks behind its head.
func pngFile(t testing.TB, chunks ...[]byte) []byte {
	t.Helper()
	var out bytes.Buffer
	if err := png.Encode(&out, picture()); err != nil {
		t.Fatal(err)
	}
	const head = 8 + 25
	file := bytes.Clone(out.Bytes()[:head])
	return append(append(file, bytes.Join(chunks, nil)...), out.Bytes()[head:]...)
}

// webpFile is a real picture of one pixel, extended by an EXIF chunk.
func webpFile(t testing.TB, tiff []byte) []byte {
	t.Helper()
	small, err := base64.StdEncoding.DecodeString("UklGRhoAAABXRUJQVlA4TA0AAAAvAAAAEAcQERGIiP4HAA==")
	if err != nil {
		t.Fatal(err)
	}
	chunk := func(name string, content []byte) []byte {
		out := append(binary.LittleEndian.AppendUint32([]byte(name), uint32(len(content))), content...)
		return append(out, make([]byte, len(content)%2)...)
	}
	body := append([]byte("WEBP"), chunk("VP8X", []byte{0x08, 0, 0, 0, 47, 0, 0, 31, 0, 0})...)
	body = append(append(body, small[12:]...), chunk("EXIF", tiff)...)
	return append(binary.LittleEndian.AppendUint32([]byte("RIFF"), uint32(len(body))), body...)
}

func box(name string, content ...[]byte) []byte {
	all := bytes.Join(content, nil)
	return append(append(binary.BigEndian.AppendUint32(nil, uint32(len(all)+8)), name...), all...)
}

func fullBox(name string, version byte, content ...[]byte) []byte {
	return box(name, append([][]byte{{version, 0, 0, 0}}, content...)...)
}

// heicFile has the boxes of one, with camera data and no picture that could be shown.
func heicFile(tiff []byte) []byte {
	be := binary.BigEndian
	exif := append([]byte{0, 0, 0, 6, 'E', 'x', 'i', 'f', 0, 0}, tiff...)
	ftyp := box("ftyp", []byte("heic\x00\x00\x00\x00mif1heic"))
	meta := func(at uint32) []byte {
		location := be.AppendUint32(be.AppendUint32([]byte{0, 1, 0, 2, 0, 0, 0, 1}, at), uint32(len(exif)))
		size := fullBox("ispe", 0, be.AppendUint32(be.AppendUint32(nil, 48), 32))
		return fullBox("meta", 0,
			fullBox("hdlr", 0, []byte("\x00\x00\x00\x00pict"), make([]byte, 13)),
			fullBox("pitm", 0, []byte{0, 1}),
			fullBox("iinf", 0, []byte{0, 2}, fullBox("infe", 2, []byte("\x00\x01\x00\x00hvc1\x00")), fullBox("infe", 2, []byte("\x00\x02\x00\x00Exif\x00"))),
			fullBox("iloc", 0, []byte{0x44, 0}, location),
			box("iprp", box("ipco", size), fullBox("ipma", 0, []byte{0, 0, 0, 1, 0, 1, 1, 0x81})))
	}
	at := uint32(len(ftyp) + len(meta(0)) + 8)
	return bytes.Join([][]byte{ftyp, meta(at), box("mdat", exif)}, nil)
}
