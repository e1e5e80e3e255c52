package options

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/metafleet/metafleet/worker-sdk/go/internal/share"
)

func env(vars ...string) func(string) string {
	all := map[string]string{}
	for i := 0; i < len(vars); i += 2 {
		all[vars[i]] = vars[i+1]
	}
	return func(name string) string { return all[name] }
}

func TestWithoutVariablesTheDefaultsHold(t *testing.T) {
	got, err := Read(env("NATS_USER", "", "METAFLEET_GRACE", ""))
	want := Options{Servers: []string{"nats://127.0.0.1:4222"}, Prefix: "mf", Grace: 30 * time.Second}
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("%+v, %v", got, err)
	}
}

func TestVariablesAreReadAsDocumented(t *testing.T) {
	got, err := Read(env("NATS_URL", "nats://a:1, b:2", "METAFLEET_PREFIX", "x", "METAFLEET_PLUGIN", "ffmpeg",
		"METAFLEET_INSTANCE", "ffmpeg-1", "METAFLEET_ROUTE", "gpu", "METAFLEET_CONCURRENCY", "8", "METAFLEET_GRACE", "1.5s",
		"METAFLEET_QUEUES", "strict", "NATS_USER", "u", "NATS_PASSWORD", "hush", "METAFLEET_PATHS", "/a=/b",
		"METAFLEET_FILES_URL", "http://h:1/files", "METAFLEET_FILES_TOKEN", "hush"))
	if err != nil {
		t.Fatal(err)
	}
	if len(got.Servers) != 2 || got.Servers[1] != "b:2" || got.Prefix != "x" || got.Plugin != "ffmpeg" || got.Instance != "ffmpeg-1" ||
		got.Route != "gpu" || got.Concurrency != 8 || got.Grace != 1500*time.Millisecond || got.Policy != share.Strict ||
		got.Paths.Here("/a/x") != "/b/x" || got.FilesURL != "http://h:1/files" {
		t.Errorf("%+v", got)
	}
	if shown := fmt.Sprintf("%v %+v %#v", got, got, got); strings.Contains(shown, "hush") {
		t.Error("a secret is printed")
	}
}

func TestTheMostSpecificLoginCounts(t *testing.T) {
	all := []string{"NATS_USER", "u", "NATS_TOKEN", "t", "NATS_NKEY", "n", "NATS_CREDS", "c"}
	for i, want := range []Login{{User: "u"}, {Token: "t"}, {Nkey: "n"}, {Creds: "c"}} {
		if got, err := Read(env(all[:2*i+2]...)); err != nil || got.Login != want {
			t.Errorf("%d: %+v, %v", i, got.Login, err)
		}
	}
}

func TestASecretMayBeInAFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(path, []byte("hush\r\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	got, err := Read(env("NATS_USER", "u", "NATS_PASSWORD_FILE", path, "METAFLEET_FILES_TOKEN_FILE", path))
	if err != nil || got.Login.Password != "hush" || got.FilesToken != "hush" {
		t.Error(err)
	}
	got, err = Read(env("NATS_TOKEN_FILE", path))
	if err != nil || got.Login.Token != "hush" {
		t.Error(err)
	}
}

func TestGraceHasUnits(t *testing.T) {
	for text, want := range map[string]time.Duration{"30": 30 * time.Second, "30s": 30 * time.Second, "500ms": 500 * time.Millisecond, "0": 0} {
		if got, err := Read(env("METAFLEET_GRACE", text)); err != nil || got.Grace != want {
			t.Errorf("%s: %v, %v", text, got.Grace, err)
		}
	}
}

func TestWrongValuesNameTheirVariable(t *testing.T) {
	for _, c := range [][2]string{
		{"METAFLEET_PREFIX", "A B"}, {"METAFLEET_PLUGIN", "A"}, {"METAFLEET_INSTANCE", "a.b"}, {"METAFLEET_ROUTE", "main"},
		{"METAFLEET_CONCURRENCY", "0"}, {"METAFLEET_CONCURRENCY", "x"}, {"METAFLEET_GRACE", "-1"}, {"METAFLEET_GRACE", "soon"},
		{"METAFLEET_GRACE", "NaN"}, {"METAFLEET_QUEUES", "both"}, {"NATS_CERT", "/a.pem"}, {"METAFLEET_PATHS", "a"},
		{"METAFLEET_FILES_URL", "ftp://x"}, {"METAFLEET_LOG_FORMAT", "xml"}, {"NATS_TOKEN_FILE", "/none/there"}, {"NATS_URL", ","},
	} {
		_, err := Read(env(c[0], c[1]))
		var wrong *Error
		if !errors.As(err, &wrong) || wrong.Name != c[0] {
			t.Errorf("%v: %v", c, err)
		}
	}
}
