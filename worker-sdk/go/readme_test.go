package metafleet_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// readmePlugin is the plugin that the README shows.
func readmePlugin(t *testing.T) string {
	t.Helper()
	text, err := os.ReadFile("README.md")
	if err != nil {
		t.Fatal(err)
	}
	_, rest, found := strings.Cut(string(text), "<!-- plugin -->\n```go\n")
	source, _, ended := strings.Cut(rest, "```\n")
	if !found || !ended {
		t.Fatal("the README shows no plugin")
	}
	return source
}

func TestThePluginOfTheReadmeRuns(t *testing.T) {
	source := readmePlugin(t)
	here, err := filepath.Abs(".")
	if err != nil {
		t.Fatal(err)
	}
	folder := t.TempDir()
	sums, err := os.ReadFile("go.sum")
	if err != nil {
		t.Fatal(err)
	}
	module, err := os.ReadFile("go.mod")
	if err != nil {
		t.Fatal(err)
	}
	_, requirements, _ := strings.Cut(string(module), "\n")
	for name, content := range map[string]string{
		"main.go": source,
		"go.sum":  string(sums),
		"go.mod": "module lines\n" + requirements + "\nrequire github.com/metafleet/metafleet/worker-sdk/go v0.0.0\n" +
			"replace github.com/metafleet/metafleet/worker-sdk/go => " + here + "\n",
		"poem.txt": "one\ntwo\n",
		"main_test.go": `package main

import (
	"testing"

	"github.com/metafleet/metafleet/worker-sdk/go/metafleettest"
)

func TestItCountsLines(t *testing.T) {
	if report := metafleettest.New(t, lines{}).Run("poem.txt"); report.Text("text/lines") != "2" {
		t.Errorf("%+v", report)
	}
	if report := metafleettest.New(t, lines{}).Run("none.txt"); report.Err == nil {
		t.Error("a file that is not there has lines")
	}
}
`,
	} {
		if err := os.WriteFile(filepath.Join(folder, name), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	command := exec.Command("go", "test", "-mod=mod", "-count=1", ".")
	command.Dir = folder
	command.Env = append(os.Environ(), "GOFLAGS=-mod=mod", "GOWORK=off")
	if out, err := command.CombinedOutput(); err != nil {
		t.Errorf("%v\n%s", err, out)
	}
}

// The tracer is a module of its own, so that whoever does without it need not have OpenTelemetry; `go test ./...`
// does not go in there.
func TestTheModuleOfTheTracerIsWhole(t *testing.T) {
	command := exec.Command("go", "test", "-count=1", "./...")
	command.Dir = "otel"
	if out, err := command.CombinedOutput(); err != nil {
		t.Errorf("%v\n%s", err, out)
	}
}
