// Package midhash makes the content id of a file.
package midhash

import (
	"crypto/sha256"
	"encoding/base32"
	"encoding/binary"
	"fmt"
	"io"
	"strings"
)

// sample is how much of a large file is hashed.
const sample = 1 << 20

var encoding = base32.StdEncoding.WithPadding(base32.NoPadding)

// Of gives the content id of a file of a size: its SHA-256 over the size and a sample from its middle.
func Of(file io.ReaderAt, size int64) (string, error) {
	length := min(size, sample)
	hash := sha256.New()
	hash.Write(binary.BigEndian.AppendUint64(nil, uint64(size)))
	read, err := io.Copy(hash, io.NewSectionReader(file, (size-length)/2, length))
	if err != nil {
		return "", err
	}
	if read != length {
		return "", fmt.Errorf("the file became shorter while it was read: %w", io.ErrUnexpectedEOF)
	}
	id := append([]byte{0x01, 0x80, 0x20, 0x80, 0x20, 0x20}, hash.Sum(nil)...)
	return "b" + strings.ToLower(encoding.EncodeToString(id)), nil
}
