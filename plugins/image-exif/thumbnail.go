package main

import (
	"bytes"
	"image/jpeg"
	"io"

	"github.com/bep/imagemeta"
)

const (
	// mostThumbnail is the largest thumbnail that is kept: in a JPEG all of EXIF is smaller than 64 KiB.
	mostThumbnail = 256 << 10
	// mostThumbnailSide is its largest width and height; the standard says 160 x 120, cameras take more.
	mostThumbnailSide = 1024
)

// thumbnail says where a small picture lies in the file that is decoded; zero where there is none.
type thumbnail struct{ offset, length float64 }

// ofThumbnail says whether a tag tells where the thumbnail is.
func ofThumbnail(tag imagemeta.TagInfo) bool {
	return tag.Source == imagemeta.EXIF && tag.Namespace == "IFD1" && (tag.Tag == "ThumbnailOffset" || tag.Tag == "ThumbnailLength")
}

// note takes such a tag.
func (t *thumbnail) note(tag imagemeta.TagInfo) {
	if tag.Tag == "ThumbnailOffset" {
		t.offset = number(tag.Value)
	} else {
		t.length = number(tag.Value)
	}
}

// read gives the thumbnail; nil where none is there, or what is there is no small JPEG: in a PNG the decoder does not say
// where in the file it is. A picture without its thumbnail is not broken: many editors change one and forget the other.
func (t thumbnail) read(file io.ReadSeeker) []byte {
	if !(t.offset > 0 && t.length > 0 && t.length <= mostThumbnail) { // also where one is no number
		return nil
	}
	if _, err := file.Seek(int64(t.offset), io.SeekStart); err != nil {
		return nil
	}
	data := make([]byte, int(t.length))
	if _, err := io.ReadFull(file, data); err != nil {
		return nil
	}
	config, err := jpeg.DecodeConfig(bytes.NewReader(data))
	if err != nil || config.Width > mostThumbnailSide || config.Height > mostThumbnailSide {
		return nil
	}
	return data
}
