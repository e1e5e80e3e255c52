package integration

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	metafleet "github.com/metafleet/metafleet/worker-sdk/go"
	"github.com/metafleet/metafleet/worker-sdk/go/internal/fleet"
)

func TestFilesThatAreNotHereComeByHTTP(t *testing.T) {
	t.Parallel()
	content := bytes.Repeat([]byte("metafleet"), 300_000)
	var ranges atomic.Int64
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		offered := map[string][]byte{"/far/away/film\xff.mkv": content, "/far/tvshow.nfo": []byte("show")}
		body, found := offered[r.URL.Query().Get("path")]
		if r.Header.Get("Authorization") != "Bearer hush" || !found {
			w.WriteHeader(http.StatusForbidden)
			return
		}
		if r.Header.Get("Range") != "" && r.Header.Get("If-Match") == `"v1"` {
			ranges.Add(1)
		}
		w.Header().Set("ETag", `"v1"`)
		http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(body))
	}))
	defer server.Close()
	token := filepath.Join(t.TempDir(), "token")
	if err := os.WriteFile(token, []byte("hush\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	var copied atomic.Value
	p := &plugin{manifest: manifest("go-http", ""), process: func(ctx context.Context, task *metafleet.Task) (metafleet.Outcome, error) {
		if !strings.HasPrefix(task.CID(), "http-") {
			return completed()
		}
		path, err := task.LocalPath(ctx)
		if err != nil {
			return metafleet.Outcome{}, metafleet.Permanent(err)
		}
		copied.Store(path)
		whole, err := os.ReadFile(path)
		if err != nil || len(whole) != len(content) {
			return metafleet.Outcome{}, metafleet.Permanentf("%d bytes: %w", len(whole), err)
		}
		file, err := task.Open(ctx)
		if err != nil {
			return metafleet.Outcome{}, metafleet.Permanent(err)
		}
		defer file.Close()
		hash := sha256.New()
		if _, err := io.Copy(hash, file); err != nil {
			return metafleet.Outcome{}, metafleet.Permanent(err)
		}
		nfo, err := task.OpenSidecar(ctx, "../tvshow.nfo")
		if err != nil {
			return metafleet.Outcome{}, metafleet.Permanent(err)
		}
		defer nfo.Close()
		show, err := io.ReadAll(nfo)
		return metafleet.Completed(metafleet.NewMeta().Text("x/0", fmt.Sprintf("%x", hash.Sum(nil))).Text("x/1", string(show))), err
	}}
	serve(t, shared, p, "ready", "METAFLEET_FILES_URL", server.URL, "METAFLEET_FILES_TOKEN_FILE", token)
	shared.Submit(t, "go-http", "http-yes", map[string]any{
		"filePath": "/far/away/film?.mkv", "filePathBytes": []byte("/far/away/film\xff.mkv"),
		"file": map[string]any{"size": len(content), "sidecars": []any{map[string]any{"name": "../tvshow.nfo", "size": 4}}},
	}, nil)
	record := shared.Record(t, "http-yes", "go-http")
	meta, _ := record["meta"].(map[string]any)
	if meta["x/0"] != fmt.Sprintf("%x", sha256.Sum256(content)) || meta["x/1"] != "show" || ranges.Load() < 2 {
		t.Errorf("%d ranges, %v", ranges.Load(), record)
	}
	if _, err := os.Stat(fmt.Sprint(copied.Load())); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the copy %v stays: %v", copied.Load(), err)
	}
	shared.Submit(t, "go-http", "http-no", map[string]any{"filePath": "/elsewhere"}, nil)
	if record := shared.Record(t, "http-no", "go-http"); record["status"] != "failed" || !strings.Contains(fmt.Sprint(record["error"]), "outside of the libraries") {
		t.Errorf("%v", record)
	}
	fleet.Eventually(t, "the sign of life to count the bytes", func() bool {
		return bytes.Contains(sign(t, shared, "go-http", "go-http-1"), fmt.Appendf(nil, `"fetchedBytes":%d`, 2*len(content)+4))
	})
}

func TestPathsAreMappedThereAndBack(t *testing.T) {
	t.Parallel()
	here := t.TempDir()
	if err := os.WriteFile(filepath.Join(here, "in\xff.txt"), []byte("mapped"), 0o600); err != nil {
		t.Fatal(err)
	}
	made := filepath.Join(here, "made by go.txt")
	var came atomic.Value
	p := &plugin{manifest: manifest("go-paths", ""), process: func(_ context.Context, task *metafleet.Task) (metafleet.Outcome, error) {
		switch {
		case task.CID() == "paths":
			text, err := os.ReadFile(task.Path())
			if err != nil || task.FilePath() != "/library/there/in\xff.txt" {
				return metafleet.Outcome{}, metafleet.Permanentf("%q: %w", task.FilePath(), err)
			}
			if err := os.WriteFile(made, text, 0o600); err != nil {
				return metafleet.Outcome{}, err
			}
			return metafleet.ForwardFile(made).WithMeta(metafleet.NewMeta().Text("x", string(text))), nil
		case strings.HasSuffix(task.FilePath(), "made by go.txt"):
			came.Store(task.FilePath())
		}
		return completed()
	}}
	serve(t, shared, p, "ready", "METAFLEET_PATHS", "/library=/none:/library/there="+here)
	shared.Submit(t, "go-paths", "paths", map[string]any{"filePath": "?", "filePathBytes": []byte("/library/there/in\xff.txt")}, nil)
	if record := shared.Record(t, "paths", "go-paths"); fmt.Sprint(record["meta"]) != "map[x:mapped]" {
		t.Errorf("%v", record)
	}
	fleet.Eventually(t, "the file to come under its name in the fleet", func() bool { return came.Load() == "/library/there/made by go.txt" })
}

func TestATaskForAnotherVersionIsLeftToIt(t *testing.T) {
	t.Parallel()
	var ran atomic.Bool
	p := &plugin{manifest: manifest("go-version", ""), process: func(_ context.Context, task *metafleet.Task) (metafleet.Outcome, error) {
		ran.Store(ran.Load() || task.CID() == "version")
		return completed()
	}}
	serve(t, shared, p, "ready")
	body := fmt.Appendf(nil, `{"type":"metafleet.task.v1","taskId":"00000000-0000-8000-8000-000000000001","runId":1,"pluginId":"go-version","cid":"version",
		"filePath":"/x","fingerprint":"f","deadlineMs":0,"retry":{"maxAttempts":1,"delaysMs":[]},"pluginVersion":"2.0.0"}`)
	if _, err := shared.NC.Request(shared.Names.Task("fast", "go-version", "main", "version"), body, fleet.Limit); err != nil {
		t.Fatal(err)
	}
	fleet.Eventually(t, "the task to be gone", func() bool {
		info, err := shared.NC.Request("$JS.API.CONSUMER.INFO.MF_TASKS.go-version_fast", nil, fleet.Limit)
		return err == nil && bytes.Contains(info.Data, []byte(`"num_pending":0`)) && bytes.Contains(info.Data, []byte(`"num_ack_pending":0`))
	})
	if ran.Load() {
		t.Error("it ran")
	}
}

func TestATaskThatCannotBeReadFailsAndIsNamed(t *testing.T) {
	t.Parallel()
	p := &plugin{manifest: manifest("go-unread", ""), process: func(context.Context, *metafleet.Task) (metafleet.Outcome, error) { return completed() }}
	serve(t, shared, p, "ready")
	heard := make(chan string, 4)
	if _, err := shared.NC.Subscribe("mf.signal.go-unread.failed", hear(heard)); err != nil {
		t.Fatal(err)
	}
	if err := shared.NC.Flush(); err != nil {
		t.Fatal(err)
	}
	for cid, body := range map[string]string{"unread-1": "nonsense", "unread-2": `{"type":"metafleet.task.v9"}`} {
		if _, err := shared.NC.Request(shared.Names.Task("fast", "go-unread", "main", cid), []byte(body), fleet.Limit); err != nil {
			t.Fatal(err)
		}
		select {
		case said := <-heard:
			if !strings.Contains(said, `"permanent":true`) || !strings.Contains(said, cid) || !strings.Contains(said, "cannot be read") {
				t.Error(said)
			}
		case <-time.After(fleet.Limit):
			t.Fatal("nothing was said")
		}
	}
}
