package main

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"
	"unicode"

	"github.com/bep/imagemeta"

	metafleet "github.com/metafleet/metafleet/worker-sdk/go"
)

// Most characters of a text, and most texts of a set.
const mostRunes, mostTexts = 4096, 256

// findings are the tags of one picture; of several with one name the first counts.
type findings struct {
	width, height   int
	exif, iptc, xmp map[string]any
	// thumbnail is a small JPEG, or nil.
	thumbnail []byte
}

func newFindings() *findings {
	return &findings{exif: map[string]any{}, iptc: map[string]any{}, xmp: map[string]any{}}
}

func (f *findings) add(tag imagemeta.TagInfo) {
	into := f.exif
	switch tag.Source {
	case imagemeta.IPTC:
		into = f.iptc
	case imagemeta.XMP:
		into = f.xmp
	}
	if _, found := into[tag.Tag]; !found {
		into[tag.Tag] = tag.Value
	}
}

// meta gives the findings under the keys of the manifest.
func (f *findings) meta() *metafleet.Meta {
	m := metafleet.NewMeta()
	text := func(key string, value string) {
		if value != "" {
			m.Text(key, value)
		}
	}
	if f.width > 0 && f.height > 0 {
		m.Text("image/width", f.width).Text("image/height", f.height)
	} else if width, height := number(f.exif["ExifImageWidth"]), number(f.exif["ExifImageHeight"]); width >= 1 && height >= 1 {
		text("image/width", decimals(width, 0))
		text("image/height", decimals(height, 0))
	}
	if orientation := number(f.exif["Orientation"]); orientation >= 1 && orientation <= 8 {
		text("image/orientation", decimals(orientation, 0))
	}
	text("image/camera/make", first(f.exif["Make"], f.xmp["Make"]))
	text("image/camera/model", first(f.exif["Model"], f.xmp["Model"]))
	text("image/lens/make", first(f.exif["LensMake"]))
	text("image/lens/model", first(f.exif["LensModel"], f.xmp["LensModel"], f.xmp["Lens"]))
	text("image/taken", f.taken())
	f.exposure(text)
	f.place(text)
	text("image/software", first(f.exif["Software"], f.xmp["CreatorTool"]))
	text("image/title", first(f.xmp["Title"], f.iptc["ObjectName"], f.xmp["Headline"], f.iptc["Headline"]))
	text("image/description", first(f.xmp["Description"], f.iptc["Caption-Abstract"], f.exif["ImageDescription"]))
	text("image/copyright", first(f.xmp["Rights"], f.iptc["CopyrightNotice"], f.exif["Copyright"]))
	if rating := number(f.xmp["Rating"]); rating >= -1 && rating <= 5 {
		text("image/rating", decimals(rating, 1))
	}
	m.Set("image/keywords", union(f.xmp["Subject"], f.iptc["Keywords"])...)
	m.Set("image/creators", union(f.xmp["Creator"], f.iptc["By-line"], f.exif["Artist"])...)
	return m
}

func (f *findings) exposure(text func(key, value string)) {
	if seconds := number(f.exif["ExposureTime"]); seconds > 0 {
		text("image/exposure/time", shutter(seconds))
	}
	for _, c := range []struct {
		key, tag string
		places   int
	}{
		{"aperture", "FNumber", 2}, {"iso", "ISO", 0}, {"focalLength", "FocalLength", 2}, {"focalLength35mm", "FocalLengthIn35mmFormat", 0},
	} {
		if value := number(f.exif[c.tag]); value > 0 && value < 1e9 {
			text("image/exposure/"+c.key, decimals(value, c.places))
		}
	}
	if bias := number(f.exif["ExposureCompensation"]); math.Abs(bias) < 100 {
		text("image/exposure/bias", decimals(bias, 2))
	}
	if flash := number(f.exif["Flash"]); flash >= 0 && flash <= math.MaxUint16 {
		text("image/exposure/flash", strconv.FormatBool(int(flash)&1 == 1))
	}
}

// place writes where the picture was taken, where that is whole and possible; a receiver without a signal says
// 0, 0.
func (f *findings) place(text func(key, value string)) {
	signed := func(tag string, most float64) float64 {
		value := number(f.exif[tag])
		if reference := first(f.exif[tag+"Ref"]); reference == "S" || reference == "W" {
			value = -math.Abs(value)
		}
		if !(math.Abs(value) <= most) {
			return math.NaN()
		}
		return value
	}
	latitude, longitude := signed("GPSLatitude", 90), signed("GPSLongitude", 180)
	if math.IsNaN(latitude) || math.IsNaN(longitude) || latitude == 0 && longitude == 0 {
		return
	}
	text("image/gps/latitude", decimals(latitude, 6))
	text("image/gps/longitude", decimals(longitude, 6))
	if altitude := number(f.exif["GPSAltitude"]); altitude < 100_000 {
		if number(f.exif["GPSAltitudeRef"]) == 1 {
			altitude = -altitude
		}
		text("image/gps/altitude", decimals(altitude, 1))
	}
}

// taken gives the time of the picture as RFC 3339, without an offset where none is known.
func (f *findings) taken() string {
	for _, c := range [][2]string{{"DateTimeOriginal", "OffsetTimeOriginal"}, {"CreateDate", "OffsetTimeDigitized"}} {
		at, err := time.Parse("2006:01:02 15:04:05", first(f.exif[c[0]]))
		if err != nil || at.Year() < 1800 {
			continue
		}
		offset := first(f.exif[c[1]], f.exif["OffsetTime"])
		if _, err := time.Parse("Z07:00", offset); err != nil {
			offset = ""
		}
		return at.Format("2006-01-02T15:04:05") + offset
	}
	for _, tag := range []string{"DateTimeOriginal", "DateCreated", "CreateDate"} {
		said := first(f.xmp[tag])
		for _, layout := range []string{time.RFC3339, "2006-01-02T15:04:05.999999999", "2006-01-02T15:04Z07:00", "2006-01-02T15:04", "2006-01-02"} {
			if _, err := time.Parse(layout, said); err == nil {
				return said
			}
		}
	}
	return ""
}

// first gives the first value that has a text.
func first(values ...any) string {
	for _, value := range values {
		for _, one := range texts(value) {
			return one
		}
	}
	return ""
}

// union gives all texts of all values.
func union(values ...any) []string {
	var all []string
	for _, value := range values {
		all = append(all, texts(value)...)
	}
	return all[:min(len(all), mostTexts)]
}

// texts gives the texts of a tag, cleaned, without empty ones.
func texts(value any) []string {
	var raw []string
	switch value := value.(type) {
	case nil:
	case string:
		raw = []string{value}
	case []string:
		raw = value
	case fmt.Stringer:
		raw = []string{value.String()}
	default:
		raw = []string{fmt.Sprint(value)}
	}
	var clean []string
	for _, one := range raw {
		if one = cleaned(one); one != "" {
			clean = append(clean, one)
		}
	}
	return clean
}

// cleaned makes a text for people of what a camera wrote: its fields are filled up with zeros and spaces.
func cleaned(text string) string {
	text = strings.Map(func(r rune) rune {
		if unicode.IsControl(r) && r != '\n' && r != '\t' {
			return -1
		}
		return r
	}, strings.ToValidUTF8(text, "\uFFFD"))
	text = strings.TrimSpace(text)
	if runes := []rune(text); len(runes) > mostRunes {
		text = string(runes[:mostRunes-1]) + "…"
	}
	return text
}

// number gives the number of a tag; NaN where it is none.
func number(value any) float64 {
	switch value := value.(type) {
	case nil:
		return math.NaN()
	case interface{ Float64() float64 }:
		return finite(value.Float64())
	case float64:
		return finite(value)
	default:
		parsed, err := strconv.ParseFloat(strings.TrimSpace(fmt.Sprint(value)), 64)
		if err != nil {
			return math.NaN()
		}
		return finite(parsed)
	}
}

func finite(value float64) float64 {
	if math.IsInf(value, 0) {
		return math.NaN()
	}
	return value
}

// decimals writes a number with some decimal places at most; NaN is the empty text.
func decimals(value float64, places int) string {
	if math.IsNaN(value) {
		return ""
	}
	text := strconv.FormatFloat(value, 'f', places, 64)
	if strings.Contains(text, ".") {
		text = strings.TrimRight(strings.TrimRight(text, "0"), ".")
	}
	if text == "-0" {
		return "0"
	}
	return text
}

// shutter writes an exposure as photographers do: a fraction under a third of a second.
func shutter(seconds float64) string {
	if seconds < 0.34 && seconds > 1e-7 {
		return "1/" + decimals(math.Round(1/seconds), 0)
	}
	return decimals(seconds, 4)
}
