package keyring

import (
	"fmt"
	"strings"
)

// AddMasterKey is the content of a master key file with one more version: the
// one after the newest. What else stands there stays.
func AddMasterKey(text string) (with string, version int, err error) {
	m, err := ParseMasterKeys(text)
	if err != nil {
		return "", 0, err
	}
	version = m.newest + 1
	if text != "" && !strings.HasSuffix(text, "\n") {
		text += "\n"
	}
	with = text + GenerateMasterKey(version) + "\n"
	if _, err := ParseMasterKeys(with); err != nil {
		return "", 0, err
	}
	return with, version, nil
}

// DropMasterKey is the content without one version, which must be there and
// not be the newest. Whether a row still needs it is for the caller to know.
func DropMasterKey(text string, version int) (without string, err error) {
	m, err := ParseMasterKeys(text)
	if err != nil {
		return "", err
	}
	if m.versions[version] == nil {
		return "", fmt.Errorf("version %d is not in it (it has %s)", version, m.list())
	}
	if version == m.newest {
		return "", fmt.Errorf("version %d is the newest one", version)
	}
	var kept strings.Builder
	for line := range strings.Lines(text) {
		entries := strings.Split(line, ",")
		left := entries[:0:0]
		for _, entry := range entries {
			if v, _, err := parseMasterKey(strings.TrimSpace(entry)); err != nil || v != version {
				left = append(left, entry)
			}
		}
		if len(left) == len(entries) {
			kept.WriteString(line)
		} else if rest := strings.TrimSpace(strings.Join(left, ",")); rest != "" {
			kept.WriteString(rest + "\n")
		}
	}
	_, err = ParseMasterKeys(kept.String())
	return kept.String(), err
}
