package source

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/iotest"
	"time"
)

// server offers files as a coordinator does.
type server struct {
	*httptest.Server
	files    map[string][]byte
	etag     atomic.Value
	requests atomic.Int64
	// spoil changes an answer; nil leaves all as they are.
	spoil func(w http.ResponseWriter, r *http.Request) bool
}

func serve(t *testing.T, files map[string][]byte) (*server, *Remote, *atomic.Uint64) {
	s := &server{files: files}
	s.etag.Store(`"v1"`)
	s.Server = httptest.NewServer(http.HandlerFunc(s.answer))
	t.Cleanup(s.Close)
	var fetched atomic.Uint64
	return s, NewRemote(NewClient(), s.URL+"/files", "hush", &fetched), &fetched
}

func (s *server) answer(w http.ResponseWriter, r *http.Request) {
	s.requests.Add(1)
	if s.spoil != nil && s.spoil(w, r) {
		return
	}
	content, found := s.files[r.URL.Query().Get("path")]
	switch {
	case r.Header.Get("Authorization") != "Bearer hush":
		w.WriteHeader(http.StatusUnauthorized)
	case !found:
		w.WriteHeader(http.StatusNotFound)
	default:
		w.Header().Set("ETag", s.etag.Load().(string))
		http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(content))
	}
}

func pattern(size int) []byte {
	content := make([]byte, size)
	for i := range content {
		content[i] = byte(i * 7 % 251)
	}
	return content
}

func TestAFileIsReadPieceByPieceFromAnywhere(t *testing.T) {
	content := pattern(5<<20 + 123)
	const path = "/library/ä &?#%+/x\xff\n.bin"
	s, remote, fetched := serve(t, map[string][]byte{path: content})
	file, err := (Place{There: path, Here: "/none/there", Remote: remote}).Open(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if file.Size() != int64(len(content)) {
		t.Errorf("%d bytes", file.Size())
	}
	all, err := io.ReadAll(file)
	if err != nil || !bytes.Equal(all, content) {
		t.Errorf("%d bytes, %v", len(all), err)
	}
	if got := s.requests.Load(); got > 12 || fetched.Load() != uint64(len(content)) {
		t.Errorf("%d requests, %d bytes", got, fetched.Load())
	}
	part := make([]byte, 300)
	if n, err := file.ReadAt(part, int64(len(content))-100); n != 100 || err != io.EOF || !bytes.Equal(part[:n], content[len(content)-100:]) {
		t.Errorf("%d, %v", n, err)
	}
	if at, err := file.Seek(-7, io.SeekEnd); err != nil || at != int64(len(content))-7 {
		t.Errorf("%d, %v", at, err)
	}
	if n, err := io.ReadFull(file, part[:7]); n != 7 || err != nil || !bytes.Equal(part[:7], content[len(content)-7:]) {
		t.Errorf("%d, %v", n, err)
	}
	if _, err := file.Seek(-1, io.SeekStart); err == nil {
		t.Error("there is something before the beginning")
	}
	if err := file.Close(); err != nil {
		t.Error(err)
	}
	if _, err := file.Read(part); err == nil {
		t.Error("a closed file can be read")
	}
}

func TestAReaderByHTTPIsAsGoodAsAnyOther(t *testing.T) {
	content := pattern(200_000)
	_, remote, _ := serve(t, map[string][]byte{"/a": content, "/empty": {}})
	for path, want := range map[string][]byte{"/a": content, "/empty": {}} {
		file, err := remote.Open(t.Context(), path)
		if err != nil {
			t.Fatal(err)
		}
		if err := iotest.TestReader(file, want); err != nil {
			t.Error(err)
		}
	}
}

func TestPartsOfTwoVersionsAreNeverMixed(t *testing.T) {
	s, remote, _ := serve(t, map[string][]byte{"/a": pattern(1 << 20)})
	file, err := remote.Open(t.Context(), "/a")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadFull(file, make([]byte, 1000)); err != nil {
		t.Fatal(err)
	}
	s.etag.Store(`"v2"`)
	if _, err := io.ReadAll(file); err == nil || !strings.Contains(err.Error(), "has changed") {
		t.Errorf("%v", err)
	}
}

func TestAnswersThatBringNothingSayWhy(t *testing.T) {
	s, remote, _ := serve(t, map[string][]byte{"/a": pattern(100_000)})
	redirected := atomic.Bool{}
	status := func(code int) func(http.ResponseWriter, *http.Request) bool {
		return func(w http.ResponseWriter, _ *http.Request) bool { w.WriteHeader(code); return true }
	}
	onlyGet := func(spoil func(w http.ResponseWriter)) func(http.ResponseWriter, *http.Request) bool {
		return func(w http.ResponseWriter, r *http.Request) bool {
			if r.Method != http.MethodGet {
				return false
			}
			spoil(w)
			return true
		}
	}
	for says, spoil := range map[string]func(http.ResponseWriter, *http.Request) bool{
		"401, the token": status(401), "403, the path is outside": status(403), "404, there is no such": status(404), "500": status(500),
		"302": func(w http.ResponseWriter, r *http.Request) bool {
			redirected.Store(redirected.Load() || r.URL.Path == "/other")
			http.Redirect(w, r, "/other", http.StatusFound)
			return true
		},
		"lacks Content-Length or ETag": func(w http.ResponseWriter, _ *http.Request) bool { w.Header().Set("Content-Length", "5"); return true },
		"it answers 200 with":          onlyGet(func(w http.ResponseWriter) { w.Header().Set("ETag", `"v1"`); w.Write(pattern(10)) }),
		"broke off": onlyGet(func(w http.ResponseWriter) {
			w.Header().Set("ETag", `"v1"`)
			w.Header().Set("Content-Range", "bytes 0-65535/100000")
			w.WriteHeader(206)
			w.Write(pattern(10))
		}),
		"it answers 206 with `bytes 5-": onlyGet(func(w http.ResponseWriter) {
			w.Header().Set("ETag", `"v1"`)
			w.Header().Set("Content-Range", "bytes 5-65540/100000")
			w.WriteHeader(206)
		}),
	} {
		s.spoil = spoil
		file, err := remote.Open(t.Context(), "/a")
		if err == nil {
			_, err = file.Read(make([]byte, 10))
		}
		if err == nil || !strings.Contains(err.Error(), says) || strings.Contains(err.Error(), "hush") {
			t.Errorf("%s: %v", says, err)
		}
	}
	if redirected.Load() {
		t.Error("a redirect was followed, with the token")
	}
	s.Close()
	if _, err := remote.Open(t.Context(), "/a"); err == nil {
		t.Error("nobody answers, and it says nothing")
	}
}

func TestReadingEndsWithItsContext(t *testing.T) {
	s, remote, _ := serve(t, map[string][]byte{"/a": pattern(1000)})
	release := make(chan struct{})
	defer close(release)
	s.spoil = func(w http.ResponseWriter, r *http.Request) bool {
		if r.Method != http.MethodGet {
			return false
		}
		select {
		case <-release:
		case <-r.Context().Done():
		}
		return true
	}
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	file, err := remote.Open(ctx, "/a")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := file.Read(make([]byte, 10)); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("%v", err)
	}
}

func TestALocalCopyIsWholeOrNotThere(t *testing.T) {
	t.Setenv("TMPDIR", t.TempDir())
	content := pattern(3 << 20)
	s, remote, _ := serve(t, map[string][]byte{"/a b.MKV": content})
	place := Place{There: "/a b.MKV", Here: "/none/there", Remote: remote}
	path, remove, err := place.Local(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if got, err := os.ReadFile(path); err != nil || !bytes.Equal(got, content) || filepath.Ext(path) != ".MKV" {
		t.Errorf("%s, %d bytes, %v", path, len(got), err)
	}
	if err := remove(); err != nil {
		t.Error(err)
	}
	s.spoil = func(w http.ResponseWriter, r *http.Request) bool {
		w.Header().Set("Content-Length", fmt.Sprint(len(content)))
		w.Write(content[:1000])
		return true
	}
	if _, _, err := place.Local(t.Context()); err == nil {
		t.Error("half a file was taken for a whole one")
	}
	left, err := os.ReadDir(os.TempDir())
	if err != nil || len(left) != 0 {
		t.Errorf("%v stay, %v", left, err)
	}
}

func TestTheFileOnThisMachineGoesFirst(t *testing.T) {
	folder := t.TempDir()
	here, pipe := filepath.Join(folder, "here\xff"), filepath.Join(folder, "pipe")
	if err := errors.Join(os.WriteFile(here, []byte("here"), 0o600), syscall.Mkfifo(pipe, 0o600)); err != nil {
		t.Fatal(err)
	}
	_, remote, _ := serve(t, map[string][]byte{"/there": []byte("by http")})
	for _, c := range []struct {
		place Place
		want  string
		says  string
	}{
		{Place{"/there", here, 0, remote}, "here", ""},
		{Place{"/there", here, 4, remote}, "here", ""},
		{Place{"/there", here, 5, remote}, "by http", ""},
		{Place{"/there", pipe, 0, remote}, "by http", ""},
		{Place{"/there", "/none/there", 0, remote}, "by http", ""},
		{Place{"/there", here, 5, nil}, "", "has 4 bytes, but had 5"},
		{Place{"/there", pipe, 0, nil}, "", "not a regular file"},
		{Place{"/there", "/none/there", 0, nil}, "", "no such file"},
	} {
		file, err := c.place.Open(t.Context())
		if c.says != "" {
			if err == nil || !strings.Contains(err.Error(), c.says) {
				t.Errorf("%+v: %v", c.place, err)
			}
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
		if got, err := io.ReadAll(file); err != nil || string(got) != c.want {
			t.Errorf("%+v: %s, %v", c.place, got, err)
		}
	}
}

func TestPathsAreEncodedByteByByte(t *testing.T) {
	for path, want := range map[string]string{
		"/library/Faust.txt": "/library/Faust.txt", "/library/a b+c%26.txt": "/library/a%20b%2Bc%2526.txt",
		"/library/été.txt": "/library/%C3%A9t%C3%A9.txt", "/\xff?&=#": "/%FF%3F%26%3D%23",
	} {
		if got := encode(path); got != want {
			t.Errorf("%q: %s, not %s", path, got, want)
		}
	}
}

func TestSidecarsAreBesideTheFile(t *testing.T) {
	for _, c := range [][3]string{
		{"/l/show/s1/a.mkv", "a.srt", "/l/show/s1/a.srt"}, {"/l/show/s1/a.mkv", "../tvshow.nfo", "/l/show/tvshow.nfo"}, {"/a.mkv", "b", "/b"},
		{"/l/x\xff/a", "b\xff", "/l/x\xff/b\xff"}, {"/l/a", "../../etc", ""}, {"/l/a", "/etc/passwd", ""}, {"/l/a", "..", ""}, {"/l/a", "../..", ""},
		{"/l/a", "", ""}, {"/l/a", "b/c", ""}, {"/l/a", "b\x00", ""}, {"/a", "../b", ""},
	} {
		got, err := Beside(c[0], c[1])
		if got != c[2] || (err == nil) != (c[2] != "") {
			t.Errorf("%v: %q, %v", c, got, err)
		}
	}
}
