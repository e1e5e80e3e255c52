package source

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"sync/atomic"
	"time"
)

const (
	connectTimeout = 5 * time.Second
	// idleTimeout is how long no byte may come.
	idleTimeout = 30 * time.Second
)

// Remote offers the bytes of files by HTTP.
type Remote struct {
	url, token string
	client     *http.Client
	fetched    *atomic.Uint64
}

// NewClient gives a client that uses no proxy and follows no redirect: the token is for one address only.
func NewClient() *http.Client {
	dialer := &net.Dialer{Timeout: connectTimeout}
	return &http.Client{
		Transport: &http.Transport{
			DialContext:           dialer.DialContext,
			TLSHandshakeTimeout:   connectTimeout,
			ResponseHeaderTimeout: idleTimeout,
			IdleConnTimeout:       idleTimeout,
			MaxIdleConnsPerHost:   16,
			DisableCompression:    true,
		},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

// NewRemote offers what url offers; bytes that come are counted in fetched.
func NewRemote(client *http.Client, url, token string, fetched *atomic.Uint64) *Remote {
	return &Remote{url: url, token: token, client: client, fetched: fetched}
}

const upperHex = "0123456789ABCDEF"

// encode writes each byte in hexadecimal that is neither unreserved nor a `/`.
func encode(path string) string {
	var out strings.Builder
	for i := range len(path) {
		b := path[i]
		if 'a' <= b && b <= 'z' || 'A' <= b && b <= 'Z' || '0' <= b && b <= '9' || strings.IndexByte("-_.~/", b) >= 0 {
			out.WriteByte(b)
		} else {
			out.Write([]byte{'%', upperHex[b>>4], upperHex[b&15]})
		}
	}
	return out.String()
}

// send asks for a file; span is empty or the value of a header `Range`.
//
// The body ends with an error when no byte has come for a while; closing it frees everything.
func (r *Remote) send(ctx context.Context, method, path, span, etag string) (*http.Response, error) {
	ctx, cancel := context.WithCancelCause(ctx)
	request, err := http.NewRequestWithContext(ctx, method, r.url+"?path="+encode(path), nil)
	if err != nil {
		cancel(nil)
		return nil, err
	}
	request.Header.Set("Authorization", "Bearer "+r.token)
	if span != "" {
		request.Header.Set("Range", span)
	}
	if etag != "" {
		request.Header.Set("If-Match", etag)
	}
	response, err := r.client.Do(request)
	if err != nil {
		cancel(nil)
		return nil, fmt.Errorf("could not get %q from the coordinator: %w", path, err)
	}
	idle := time.AfterFunc(idleTimeout, func() { cancel(errIdle) })
	response.Body = &body{response.Body, idle, ctx, cancel, r.fetched}
	if err := answered(response.StatusCode, path); err != nil {
		return nil, errors.Join(err, response.Body.Close())
	}
	return response, nil
}

var errIdle = fmt.Errorf("no byte came for %v", idleTimeout)

// answered says what an answer means that brings nothing.
func answered(status int, path string) error {
	advice := ""
	switch status {
	case http.StatusOK, http.StatusPartialContent:
		return nil
	case http.StatusUnauthorized:
		advice = "the token is not the coordinator's; set METAFLEET_FILES_TOKEN, or announce again to get it"
	case http.StatusForbidden:
		advice = "the path is outside of the libraries of the fleet"
	case http.StatusNotFound:
		advice = "there is no such file any more"
	case http.StatusPreconditionFailed:
		advice = "the file has changed while it was read"
	case http.StatusRequestedRangeNotSatisfiable:
		advice = "the file has become shorter while it was read"
	}
	text := fmt.Sprintf("could not get %q from the coordinator: it answers %d", path, status)
	if advice != "" {
		text += ", " + advice
	}
	return errors.New(text)
}

// body counts what comes, and gives up when nothing does.
type body struct {
	io.ReadCloser
	idle    *time.Timer
	ctx     context.Context
	cancel  context.CancelCauseFunc
	fetched *atomic.Uint64
}

func (b *body) Read(into []byte) (int, error) {
	n, err := b.ReadCloser.Read(into)
	if n > 0 {
		b.fetched.Add(uint64(n))
		b.idle.Reset(idleTimeout)
	}
	if err != nil && err != io.EOF && b.ctx.Err() != nil {
		err = context.Cause(b.ctx)
	}
	return n, err
}

func (b *body) Close() error {
	b.idle.Stop()
	err := b.ReadCloser.Close()
	b.cancel(nil)
	return err
}

// copy writes a whole file into the temporary folder.
func (r *Remote) copy(ctx context.Context, path string) (string, func() error, error) {
	response, err := r.send(ctx, http.MethodGet, path, "", "")
	if err != nil {
		return "", nil, err
	}
	defer response.Body.Close() // what matters was read, or an error is told already
	if response.StatusCode != http.StatusOK || response.ContentLength < 0 {
		return "", nil, fmt.Errorf("could not get %q from the coordinator: it answers %d without a length", path, response.StatusCode)
	}
	file, err := os.CreateTemp("", "metafleet-*"+suffix(path))
	if err != nil {
		return "", nil, err
	}
	remove := func() error { return os.Remove(file.Name()) }
	written, err := io.Copy(file, response.Body)
	if err == nil && written != response.ContentLength {
		err = io.ErrUnexpectedEOF
	}
	if err = errors.Join(err, file.Close()); err != nil {
		return "", nil, errors.Join(fmt.Errorf("could not copy %q from the coordinator: %w", path, err), remove())
	}
	return file.Name(), remove, nil
}
