package keyring

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestMasterKeyTextIsRead(t *testing.T) {
	t.Parallel()
	one, two := GenerateMasterKey(1), GenerateMasterKey(2)
	for name, c := range map[string]struct {
		text     string
		versions []int
	}{
		"one line":              {one, []int{1}},
		"with a line end":       {one + "\n", []int{1}},
		"Windows line ends":     {one + "\r\n" + two + "\r\n", []int{1, 2}},
		"two in any order":      {two + "\n" + one, []int{1, 2}},
		"comments, empty lines": {"# made on Monday\n\n" + one + "\n  \n# newer\n" + two + "\n", []int{1, 2}},
		"with commas":           {one + "," + two, []int{1, 2}},
		"with spaces around":    {"  " + one + " , " + two + " ", []int{1, 2}},
	} {
		keys, err := ParseMasterKeys(c.text)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if diff := cmp.Diff(c.versions, keys.Versions()); diff != "" {
			t.Errorf("%s: %s", name, diff)
		}
		if keys.Newest() != c.versions[len(c.versions)-1] {
			t.Errorf("%s: newest is %d", name, keys.Newest())
		}
	}
}

func TestBadMasterKeyTextIsRefusedWithoutShowingIt(t *testing.T) {
	t.Parallel()
	good := GenerateMasterKey(1)
	body := strings.TrimPrefix(good, "v1:")
	for name, text := range map[string]string{
		"empty":             "",
		"only a comment":    "# v1:" + body,
		"no version":        body,
		"version 0":         "v0:" + body,
		"version -1":        "v-1:" + body,
		"version 01":        "v01:" + body,
		"version +1":        "v+1:" + body,
		"version text":      "vx:" + body,
		"no base64":         "v1:" + body[:43] + "!",
		"too short":         "v1:" + body[:40],
		"too long":          "v1:" + body[:40] + body,
		"without padding":   "v1:" + strings.TrimRight(body, "="),
		"spaces inside":     "v1: " + body,
		"version twice":     good + "\n" + GenerateMasterKey(1),
		"all zero":          "v1:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=",
		"one byte repeated": "v1:" + "//////////////////////////////////////////8=",
		"more than 16 KiB":  strings.Repeat("# comment\n", 2000) + good,
		"bad second line":   good + "\nnonsense",
	} {
		_, err := ParseMasterKeys(text)
		if err == nil {
			t.Errorf("%s: taken", name)
		} else if strings.Contains(err.Error(), body[:10]) {
			t.Errorf("%s: the error shows the key", name)
		}
	}
}

func TestAMasterKeyFileMustBeTheOwnersAlone(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "master.key")
	if err := os.WriteFile(path, []byte(GenerateMasterKey(4)+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, mode := range []os.FileMode{0o600, 0o400} {
		if err := os.Chmod(path, mode); err != nil {
			t.Fatal(err)
		}
		keys, err := LoadMasterKeys(path)
		if err != nil {
			t.Errorf("%04o: %v", mode, err)
		} else if keys.Newest() != 4 {
			t.Errorf("%04o: version %d", mode, keys.Newest())
		}
	}
	for _, mode := range []os.FileMode{0o640, 0o604, 0o644, 0o660, 0o610, 0o777, 0o602} {
		if err := os.Chmod(path, mode); err != nil {
			t.Fatal(err)
		}
		_, err := LoadMasterKeys(path)
		if err == nil || !strings.Contains(err.Error(), "chmod 600 "+path) {
			t.Errorf("%04o: %v", mode, err)
		}
	}
}

func TestAMasterKeyFileThatIsNoneIsExplained(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	_, err := LoadMasterKeys(filepath.Join(dir, "missing"))
	if err == nil || !strings.Contains(err.Error(), "marque master-key generate") {
		t.Errorf("missing: %v", err)
	}
	if _, err := LoadMasterKeys(dir); err == nil || !strings.Contains(err.Error(), "not a regular file") {
		t.Errorf("directory: %v", err)
	}
	empty := filepath.Join(dir, "empty")
	if err := os.WriteFile(empty, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := LoadMasterKeys(empty); err == nil || !strings.Contains(err.Error(), empty) {
		t.Errorf("empty: %v", err)
	}
}
