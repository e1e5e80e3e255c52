package source

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"sync"
)

const (
	// smallPiece is read first, and after a jump; pieces of a file that is read on and on double up to
	// largePiece.
	smallPiece = 64 << 10
	largePiece = 1 << 20
)

// ranged reads a file piece by piece; all pieces are of one version of it.
type ranged struct {
	remote *Remote
	ctx    context.Context
	path   string
	etag   string
	size   int64

	mu     sync.Mutex
	at     int64 // of the next Read
	piece  []byte
	begins int64 // where the piece lies in the file
	length int   // of the next piece
	closed bool
}

// Open looks at a file; ctx is for all that is read of it, too.
func (r *Remote) Open(ctx context.Context, path string) (File, error) {
	response, err := r.send(ctx, http.MethodHead, path, "", "")
	if err != nil {
		return nil, err
	}
	if err := response.Body.Close(); err != nil {
		return nil, err
	}
	etag := response.Header.Get("ETag")
	if response.ContentLength < 0 || etag == "" {
		return nil, fmt.Errorf("could not get %q from the coordinator: its answer lacks Content-Length or ETag", path)
	}
	return &ranged{remote: r, ctx: ctx, path: path, etag: etag, size: response.ContentLength, length: smallPiece}, nil
}

func (f *ranged) Size() int64 { return f.size }

func (f *ranged) Close() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.closed {
		return fs.ErrClosed
	}
	f.closed, f.piece = true, nil
	return nil
}

func (f *ranged) Seek(offset int64, whence int) (int64, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	switch whence {
	case io.SeekCurrent:
		offset += f.at
	case io.SeekEnd:
		offset += f.size
	}
	if offset < 0 || whence < io.SeekStart || whence > io.SeekEnd {
		return 0, fmt.Errorf("%q: a place before its beginning", f.path)
	}
	f.at = offset
	return offset, nil
}

func (f *ranged) Read(into []byte) (int, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	n, err := f.some(into, f.at)
	f.at += int64(n)
	return n, err
}

func (f *ranged) ReadAt(into []byte, at int64) (int, error) {
	if at < 0 {
		return 0, fmt.Errorf("%q: a place before its beginning", f.path)
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	read := 0
	for read < len(into) {
		n, err := f.some(into[read:], at+int64(read))
		read += n
		if err != nil {
			return read, err
		}
	}
	return read, nil
}

// some reads what the piece at hand holds, or gets the next one.
func (f *ranged) some(into []byte, at int64) (int, error) {
	switch {
	case f.closed:
		return 0, fs.ErrClosed
	case len(into) == 0:
		return 0, nil
	case at >= f.size:
		return 0, io.EOF
	}
	end := f.begins + int64(len(f.piece))
	if at < f.begins || at >= end {
		if at == end && end > 0 {
			f.length = min(2*f.length, largePiece)
		} else {
			f.length = smallPiece
		}
		if err := f.fetch(at); err != nil {
			return 0, err
		}
	}
	return copy(into, f.piece[at-f.begins:]), nil
}

func (f *ranged) fetch(at int64) (err error) {
	length := min(int64(f.length), f.size-at)
	span := fmt.Sprintf("bytes=%d-%d", at, at+length-1)
	response, err := f.remote.send(f.ctx, http.MethodGet, f.path, span, f.etag)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, response.Body.Close()) }()
	want := fmt.Sprintf("bytes %d-%d/%d", at, at+length-1, f.size)
	got, etag := response.Header.Get("Content-Range"), response.Header.Get("ETag")
	if response.StatusCode != http.StatusPartialContent || got != want || etag != f.etag {
		return fmt.Errorf("could not get %q from the coordinator: asked for `%s` of %s, it answers %d with `%s` of %s",
			f.path, want, f.etag, response.StatusCode, got, etag)
	}
	piece := make([]byte, length)
	if _, err := io.ReadFull(response.Body, piece); err != nil {
		return fmt.Errorf("%q from the coordinator broke off: %w", f.path, err)
	}
	f.piece, f.begins = piece, at
	return nil
}
