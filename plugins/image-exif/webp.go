package main

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
)

const (
	// mostChunks and mostChunkBytes bound what is looked at in a WebP file.
	mostChunks, mostChunkBytes = 4096, 8 << 20
)

// onlyMetadata gives a WebP file that holds the camera data and the size of another one, and nothing else.
//
// The decoder does not know that a chunk of an odd length is followed by a byte that belongs to none, and so
// finds nothing behind most pictures; here all chunks have an even length.
func onlyMetadata(file io.ReadSeeker) (io.ReadSeeker, error) {
	if _, err := file.Seek(12, io.SeekStart); err != nil {
		return nil, err
	}
	out := []byte("RIFF\x00\x00\x00\x00WEBP")
	var problem error
	for range mostChunks {
		head := make([]byte, 8)
		if _, err := io.ReadFull(file, head); err != nil {
			if err != io.EOF && !errors.Is(err, io.ErrUnexpectedEOF) {
				return nil, err
			}
			break
		}
		length := int64(binary.LittleEndian.Uint32(head[4:]))
		keep := int64(0)
		switch string(head[:4]) {
		case "EXIF", "XMP ":
			keep = length
		case "VP8X", "VP8 ", "VP8L":
			keep = min(length, 10) // its size is in there
		}
		if keep > mostChunkBytes {
			problem = fmt.Errorf("a chunk of %d bytes of camera data is too large", keep)
			keep = 0
		}
		if keep > 0 {
			chunk, err := io.ReadAll(io.LimitReader(file, keep))
			if err != nil {
				return nil, err
			}
			if string(head[:4]) == "EXIF" {
				chunk = bytes.TrimPrefix(chunk, []byte("Exif\x00\x00")) // some writers copy it from JPEG as it is
			}
			chunk = append(chunk, make([]byte, len(chunk)%2)...)
			out = append(binary.LittleEndian.AppendUint32(append(out, head[:4]...), uint32(len(chunk))), chunk...)
			if int64(len(chunk)) < keep {
				break
			}
		}
		if _, err := file.Seek(length-keep+length%2, io.SeekCurrent); err != nil {
			return nil, err
		}
	}
	binary.LittleEndian.PutUint32(out[4:], uint32(len(out)-8))
	return bytes.NewReader(out), problem
}
