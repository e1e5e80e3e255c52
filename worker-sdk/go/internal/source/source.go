// Package source reads the bytes of files: from this machine, or by HTTP from the coordinator.
package source

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// File is a file that can be read from anywhere in it.
type File interface {
	io.ReadSeekCloser
	io.ReaderAt
	// Size is how many bytes it has.
	Size() int64
}

// Place is where one file may be.
type Place struct {
	// There is the path that the fleet knows, Here the one on this machine.
	There, Here string
	// Size that its finder saw; 0 = unknown.
	Size uint64
	// Remote offers bytes of files that are not here; nil = nobody does.
	Remote *Remote
}

// Open gives the file on this machine if it is there, else the one that the coordinator offers.
func (p Place) Open(ctx context.Context) (File, error) {
	file, err := p.openHere()
	if err == nil {
		return file, nil
	}
	if p.Remote == nil {
		return nil, err
	}
	return p.Remote.Open(ctx, p.There)
}

// Local gives a path on this machine: that of the file itself if it is there, else that of a copy in a
// temporary folder, which remove deletes.
func (p Place) Local(ctx context.Context) (path string, remove func() error, err error) {
	file, err := p.openHere()
	if err == nil {
		return p.Here, nil, file.Close()
	}
	if p.Remote == nil {
		return "", nil, err
	}
	return p.Remote.copy(ctx, p.There)
}

type local struct {
	*os.File
	size int64
}

func (l local) Size() int64 { return l.size }

func (p Place) openHere() (File, error) {
	// Looked at before it is opened, because opening a pipe may wait for ever.
	info, err := os.Stat(p.Here)
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, &fs.PathError{Op: "open", Path: p.Here, Err: errors.New("it is not a regular file")}
	}
	if p.Size > 0 && uint64(info.Size()) != p.Size {
		return nil, fmt.Errorf("%s has %d bytes, but had %d when it was found; a scan hands it in anew", p.Here, info.Size(), p.Size)
	}
	file, err := os.Open(p.Here)
	if err != nil {
		return nil, err
	}
	return local{file, info.Size()}, nil
}

// Beside gives the path of a file in the folder of another one, or, with `../` in front, in the folder
// above. Anything else that is no plain name is refused.
func Beside(path, name string) (string, error) {
	folder := path[:strings.LastIndexByte(path, '/')+1]
	plain, above := strings.CutPrefix(name, "../")
	if plain == "" || plain == "." || plain == ".." || strings.ContainsAny(plain, "/\x00") {
		return "", fmt.Errorf("`%s` is no name of a sidecar", name)
	}
	if above {
		trimmed := strings.TrimRight(folder, "/")
		folder = trimmed[:strings.LastIndexByte(trimmed, '/')+1]
	}
	if folder == "" {
		return "", fmt.Errorf("`%s`: there is no such folder", name)
	}
	return folder + plain, nil
}

// suffix is the extension of a path, if it is a harmless one for the name of a copy.
func suffix(path string) string {
	extension := filepath.Ext(path)
	if len(extension) > 16 {
		return ""
	}
	for _, r := range strings.TrimPrefix(extension, ".") {
		if !('a' <= r && r <= 'z' || 'A' <= r && r <= 'Z' || '0' <= r && r <= '9') {
			return ""
		}
	}
	return extension
}
