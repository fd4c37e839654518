package app

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
)

// Everything that the server writes is its own user's alone.
const (
	fileMode = 0o600
	dirMode  = 0o700
)

// temporarySuffix is the end of the name of a file that is not whole yet.
const temporarySuffix = ".tmp"

// ensureDir makes a directory for this user alone. One that exists is left as
// it is: it may be somebody else's, and the files in it are private in any
// case. Only where everybody could put files in place of ours it is refused.
func ensureDir(path string) error {
	if err := os.MkdirAll(path, dirMode); err != nil {
		return err
	}
	info, err := os.Stat(path)
	if err != nil {
		return err
	}
	if info.Mode().Perm()&0o002 != 0 {
		return fmt.Errorf("everybody may write into %s: give the server a directory of its own, or run: chmod 700 %s", path, path)
	}
	return nil
}

// WriteFile puts content in place as a whole or not at all: a crash at any line
// leaves the old file, or the new one, and at worst a *.tmp beside it that the
// next write replaces.
func WriteFile(path string, content []byte) error {
	temporary := path + temporarySuffix
	if err := writeSynced(temporary, content); err != nil {
		return err
	}
	if err := os.Rename(temporary, path); err != nil {
		return err
	}
	return syncDir(filepath.Dir(path))
}

func writeSynced(path string, content []byte) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, fileMode)
	if err != nil {
		return err
	}
	_, err = f.Write(content)
	err = errors.Join(err, f.Chmod(fileMode), f.Sync())
	return errors.Join(err, f.Close())
}

// ReplaceFile is WriteFile for a file that exists: the new one belongs to whom
// the old one belonged, since who replaces it may be root and the server not.
// Where the path is a link, what it leads to is replaced.
func ReplaceFile(path string, content []byte) error {
	path, err := filepath.EvalSymlinks(path)
	if err != nil {
		return err
	}
	old, err := os.Stat(path)
	if err != nil {
		return err
	}
	temporary := path + temporarySuffix
	if err := writeSynced(temporary, content); err != nil {
		return err
	}
	if owner, ok := old.Sys().(*syscall.Stat_t); ok && os.Geteuid() == 0 {
		if err := os.Chown(temporary, int(owner.Uid), int(owner.Gid)); err != nil {
			return err
		}
	}
	if err := os.Rename(temporary, path); err != nil {
		return err
	}
	return syncDir(filepath.Dir(path))
}

// lockDir makes this process the only one that holds the lock of a directory,
// until it lets go or ends, however it ends. It leaves no file behind.
func lockDir(path string) (unlock func() error, err error) {
	d, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	if err := syscall.Flock(int(d.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		return nil, errors.Join(err, d.Close())
	}
	return d.Close, nil
}

// syncDir makes a rename survive a power cut.
func syncDir(path string) error {
	d, err := os.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// readIfThere reads a file; a missing one is nil and no error.
func readIfThere(path string) ([]byte, error) {
	content, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", path, err)
	}
	return content, nil
}

// WriteNewFile writes a file for its owner alone and refuses one that exists:
// what may be in it cannot be made again.
func WriteNewFile(path string, content []byte) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, fileMode)
	if errors.Is(err, fs.ErrExist) {
		return fmt.Errorf("%s exists already and is left as it is", path)
	}
	if err != nil {
		return err
	}
	_, err = f.Write(content)
	err = errors.Join(err, f.Sync())
	return errors.Join(err, f.Close(), syncDir(filepath.Dir(path)))
}
