package main

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"
)

func TestTheCheckedInTypesAreThoseOfTheSchemas(t *testing.T) {
	book, err := read("../../../../broker-config/schema")
	if err != nil {
		t.Fatal(err)
	}
	files, err := generate(book)
	if err != nil {
		t.Fatal(err)
	}
	there, err := filepath.Glob("../../wire/*.gen.go")
	if err != nil {
		t.Fatal(err)
	}
	if len(there) != len(files) {
		t.Errorf("%d generated files lie there, %d are made", len(there), len(files))
	}
	for name, want := range files {
		have, err := os.ReadFile(filepath.Join("../../wire", name))
		if err != nil || !bytes.Equal(have, want) {
			t.Errorf("wire/%s is not what the schemas say (%v); run `go run ./internal/schemagen` in worker-sdk/go", name, err)
		}
	}
}

func TestNamesAreThoseOfGo(t *testing.T) {
	for name, want := range map[string]string{
		"taskId": "TaskID", "pid": "PID", "ui": "UI", "deadlineMs": "DeadlineMs", "id": "ID", "blue-green": "BlueGreen", "void": "Void",
	} {
		if got := exported(name); got != want {
			t.Errorf("%s: %s, not %s", name, got, want)
		}
	}
}
