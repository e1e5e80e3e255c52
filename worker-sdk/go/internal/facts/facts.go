// Package facts says of a file what its finder would say: size, media type, name.
package facts

import (
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/metafleet/metafleet/worker-sdk/go/wire"
)

// Unknown is the media type of which nothing is known.
const Unknown = "application/octet-stream"

// headBytes is how much of a file is looked at.
const headBytes = 8192

// OfName says what the name of a file says.
func OfName(path string) wire.FileFacts {
	name := filepath.Base(path)
	extension := ""
	if dot := strings.LastIndexByte(name, '.'); dot > 0 {
		extension = strings.ToLower(name[dot+1:])
	}
	readable := func(text string) string { return strings.ToValidUTF8(text, "\uFFFD") }
	return wire.FileFacts{Mime: Unknown, Name: readable(name), Extension: readable(extension)}
}

// OfFile looks at a file; one that is not regular is only described by its name.
func OfFile(path string) (wire.FileFacts, error) {
	info, err := os.Stat(path)
	if err != nil {
		return wire.FileFacts{}, err
	}
	facts := OfName(path)
	facts.Modified = info.ModTime().UTC().Format(time.RFC3339Nano)
	if !info.Mode().IsRegular() {
		return facts, nil // a pipe may never say anything
	}
	facts.Size = uint64(info.Size())
	file, err := os.Open(path)
	if err != nil {
		return wire.FileFacts{}, err
	}
	defer file.Close() // nothing was written
	head, err := io.ReadAll(io.LimitReader(file, headBytes))
	if err != nil {
		return wire.FileFacts{}, err
	}
	facts.Mime = Mime(facts.Extension, head)
	return facts, nil
}
