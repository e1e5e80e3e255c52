package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/bep/imagemeta"
)

const (
	// mostBytes is how much of one file is read, jumps back included.
	mostBytes = 64 << 20
	// mostReads bounds files that have it jump to and fro.
	mostReads = 1 << 20
	// mostTags is how many tags of one file are looked at, and mostTagBytes the largest of them.
	mostTags, mostTagBytes = 5000, 1<<16 - 1
)

var errTooMuch = errors.New("too much has to be read to find its camera data")

// frugal reads a file with an end to its patience, and tells errors of reading from errors of the file.
type frugal struct {
	ctx   context.Context
	file  io.ReadSeeker
	bytes int64
	reads int
	// failed is the first error of reading.
	failed error
}

// Read implements io.Reader.
func (f *frugal) Read(into []byte) (int, error) {
	f.reads++
	if f.bytes > mostBytes || f.reads > mostReads {
		return 0, errTooMuch
	}
	if err := f.ctx.Err(); err != nil {
		return 0, f.fail(err)
	}
	n, err := f.file.Read(into)
	f.bytes += int64(n)
	if err != nil && err != io.EOF {
		err = f.fail(err)
	}
	return n, err
}

// Seek implements io.Seeker. Places that make no sense are the file's fault.
func (f *frugal) Seek(offset int64, whence int) (int64, error) {
	f.reads++
	if f.reads > mostReads {
		return 0, errTooMuch
	}
	return f.file.Seek(offset, whence)
}

func (f *frugal) fail(err error) error {
	if f.failed == nil {
		f.failed = err
	}
	return err
}

// unknownFormat is none that is read here.
const unknownFormat = imagemeta.ImageFormatAuto

// formatOf looks at the beginning of a file; names are not believed.
func formatOf(file io.ReadSeeker) (imagemeta.ImageFormat, error) {
	head := make([]byte, 32)
	n, err := io.ReadFull(file, head)
	if err != nil && err != io.EOF && err != io.ErrUnexpectedEOF {
		return unknownFormat, err
	}
	if _, err := file.Seek(0, io.SeekStart); err != nil {
		return unknownFormat, err
	}
	return formatOfHead(head[:n]), nil
}

func formatOfHead(head []byte) imagemeta.ImageFormat {
	at := func(offset int, magic string) bool {
		return len(head) >= offset+len(magic) && string(head[offset:offset+len(magic)]) == magic
	}
	switch {
	case at(0, "\xff\xd8\xff"):
		return imagemeta.JPEG
	case at(0, "II*\x00"), at(0, "MM\x00*"):
		return imagemeta.TIFF
	case at(0, "\x89PNG\r\n\x1a\n"):
		return imagemeta.PNG
	case at(0, "RIFF") && at(8, "WEBP"):
		return imagemeta.WebP
	case at(4, "ftypavif"), at(4, "ftypavis"):
		return imagemeta.AVIF
	case at(4, "ftyp") && isHEIF(head[8:]):
		return imagemeta.HEIF
	default:
		return unknownFormat
	}
}

// isHEIF looks at the brands behind `ftyp`; the second four bytes are a version.
func isHEIF(brands []byte) bool {
	for _, brand := range []string{"heic", "heix", "hevc", "heim", "heis", "mif1", "msf1"} {
		if bytes.HasPrefix(brands, []byte(brand)) {
			return true
		}
	}
	return false
}

// decode reads all tags that matter, and the thumbnail if asked to; what was found before a problem counts.
func decode(file io.ReadSeeker, format imagemeta.ImageFormat, small bool) (found *findings, problem error) {
	found = newFindings()
	defer func() {
		// A file must not be able to end the attempt in a way that has it tried again and again.
		if panicked := recover(); panicked != nil {
			problem = fmt.Errorf("the picture is broken: %v", panicked)
		}
	}()
	if format == imagemeta.WebP {
		essence, err := onlyMetadata(file)
		if essence == nil {
			return found, fmt.Errorf("the picture is broken: %w", err)
		}
		file, problem = essence, err
	}
	var place thumbnail
	result, err := imagemeta.Decode(imagemeta.Options{
		R: file, ImageFormat: format, Sources: imagemeta.EXIF | imagemeta.IPTC | imagemeta.XMP | imagemeta.CONFIG,
		LimitNumTags: mostTags, LimitTagSize: mostTagBytes,
		ShouldHandleTag: func(tag imagemeta.TagInfo) bool { return wanted(tag) || small && ofThumbnail(tag) },
		HandleTag: func(tag imagemeta.TagInfo) error {
			if ofThumbnail(tag) {
				place.note(tag)
			} else {
				found.add(tag)
			}
			return nil
		},
	})
	found.thumbnail = place.read(file)
	found.width, found.height = result.ImageConfig.Width, result.ImageConfig.Height
	if err != nil {
		return found, fmt.Errorf("the picture is broken: %w", err)
	}
	return found, problem
}

// wanted leaves out thumbnails and other pictures in the same file.
func wanted(tag imagemeta.TagInfo) bool {
	if tag.Source != imagemeta.EXIF {
		return true
	}
	ifd, _, _ := strings.Cut(tag.Namespace, "/")
	return ifd == "IFD0" && !strings.Contains(tag.Namespace, "SubIFD") && !strings.Contains(tag.Namespace, "Interop")
}
