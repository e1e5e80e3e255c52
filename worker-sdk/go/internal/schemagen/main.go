// Command schemagen writes the types of package wire from the JSON Schemas of the protocol.
//
//	go run ./internal/schemagen
package main

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
)

func main() {
	in := flag.String("in", "../../broker-config/schema", "folder with the schemas")
	out := flag.String("out", "wire", "folder of package wire")
	flag.Parse()
	if err := run(*in, *out); err != nil {
		fmt.Fprintln(os.Stderr, "schemagen:", err)
		os.Exit(1)
	}
}

func run(in, out string) error {
	book, err := read(in)
	if err != nil {
		return err
	}
	files, err := generate(book)
	if err != nil {
		return err
	}
	old, err := filepath.Glob(filepath.Join(out, "*.gen.go"))
	if err != nil {
		return err
	}
	for _, path := range old {
		if files[filepath.Base(path)] == nil {
			if err := os.Remove(path); err != nil {
				return err
			}
		}
	}
	for name, text := range files {
		if err := os.WriteFile(filepath.Join(out, name), text, 0o644); err != nil {
			return err
		}
	}
	return nil
}
