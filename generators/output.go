package main

import (
	"bytes"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"

	"github.com/marque-id/marque/generators/emit"
)

// compare lists the paths under root that are not as files have them: other
// bytes, missing, or there although an emitter that owns them does not write them.
func compare(root string, owned []string, files []emit.File) ([]string, error) {
	var differing []string
	emitted := make(map[string]bool)
	for _, file := range files {
		emitted[file.Path] = true
		data, err := os.ReadFile(filepath.Join(root, file.Path))
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return nil, err
		}
		if err != nil || !bytes.Equal(data, file.Data) {
			differing = append(differing, file.Path)
		}
	}
	for _, pattern := range owned {
		found, err := filepath.Glob(filepath.Join(root, pattern))
		if err != nil {
			return nil, err
		}
		for _, path := range found {
			path, err := filepath.Rel(root, path)
			if err != nil {
				return nil, err
			}
			if path = filepath.ToSlash(path); !emitted[path] {
				differing = append(differing, path)
			}
		}
	}
	slices.Sort(differing)
	return differing, nil
}

// write makes the differing paths as files have them.
func write(root string, differing []string, files []emit.File) error {
	for _, path := range differing {
		target := filepath.Join(root, path)
		i := slices.IndexFunc(files, func(f emit.File) bool { return f.Path == path })
		if i < 0 {
			if err := os.Remove(target); err != nil {
				return err
			}
			continue
		}
		if err := os.MkdirAll(filepath.Dir(target), 0o755); err != nil {
			return err
		}
		if err := os.WriteFile(target, files[i].Data, 0o644); err != nil {
			return err
		}
	}
	return nil
}
