package pipeline

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io"
	"os"
	"path/filepath"
)

// maxArtifacts bounds the binaries that are kept.
const maxArtifacts = 40

// artifact returns the file of a binary by its digest.
func (c cache) artifact(digest string) string { return filepath.Join(c.artifacts(), digest) }

// store moves a binary under the name of its digest.
func (c cache) store(file string) (digest string, err error) {
	if digest, err = digestOf(file); err != nil {
		return "", err
	}
	target := c.artifact(digest)
	if intact(target, digest) {
		return digest, nil
	}
	if err := errors.Join(os.Chmod(file, 0o700), os.Rename(file, target)); err != nil {
		return "", err
	}
	prune(c.artifacts(), maxArtifacts)
	return digest, nil
}

func intact(file, digest string) bool {
	got, err := digestOf(file)
	return err == nil && got == digest
}

func digestOf(file string) (string, error) {
	f, err := os.Open(file)
	if err != nil {
		return "", err
	}
	defer f.Close()
	h := sha256.New()
	if _, err := io.Copy(h, f); err != nil {
		return "", err
	}
	return hex.EncodeToString(h.Sum(nil)), nil
}
