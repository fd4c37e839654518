package marque

import (
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
)

// profileFile is where people keep what their tools need to reach Marque.
type profileFile struct {
	Current  string             `json:"current"`
	Profiles map[string]profile `json:"profiles"`
}

type profile struct {
	Issuer           string `json:"issuer"`
	CAFile           string `json:"ca_file"`
	ClientID         string `json:"client_id"`
	ClientSecretFile string `json:"client_secret_file"`
	APIKeyFile       string `json:"api_key_file"`

	name, file string
}

// credential is by what the profile signs in.
func (p *profile) credential() (Credential, error) {
	switch {
	case p.APIKeyFile != "" && (p.ClientID != "" || p.ClientSecretFile != ""):
		return nil, misconfigured("the profile %q in %s has an api_key_file and a client_id or client_secret_file, which are two ways to sign in: take one out", p.name, p.file)
	case p.APIKeyFile != "":
		return APIKeyFileCredential(p.APIKeyFile), nil
	case p.ClientID == "" || p.ClientSecretFile == "":
		return nil, misconfigured("the profile %q in %s has no client_id with a client_secret_file, and no api_key_file", p.name, p.file)
	}
	return SecretFileCredential(p.ClientID, p.ClientSecretFile), nil
}

// profilePath is the path of the profile file; "" where there is no home.
func profilePath(getenv func(string) string) string {
	if dir := getenv("XDG_CONFIG_HOME"); filepath.IsAbs(dir) {
		return filepath.Join(dir, "marque", "config.json")
	}
	for _, home := range []string{"HOME", "USERPROFILE"} {
		if dir := getenv(home); filepath.IsAbs(dir) {
			return filepath.Join(dir, ".config", "marque", "config.json")
		}
	}
	return ""
}

// readProfile finds a profile by name, or the current one where name is "". It
// returns nil and why where there is none and none was asked for by name.
func readProfile(path, name string) (p *profile, why string, err error) {
	if path == "" {
		why = "there is no home directory to look for marque/config.json in"
		if name != "" {
			return nil, "", misconfigured("the profile %q cannot be read: %s", name, why)
		}
		return nil, why, nil
	}
	info, err := os.Stat(path)
	if errors.Is(err, fs.ErrNotExist) && name == "" {
		return nil, path + " does not exist", nil
	}
	if err != nil {
		return nil, "", fileError("the profile file", path, err)
	}
	// Whoever may write it could send our secret elsewhere; whoever may read it
	// learns where secrets are. Windows has no such modes.
	if mode := info.Mode().Perm(); mode&0o077 != 0 && runtime.GOOS != "windows" {
		return nil, "", misconfigured("the profile file %s has mode %#o, so that others may use it: chmod 600 it", path, mode)
	}
	content, err := os.ReadFile(path)
	if err != nil {
		return nil, "", fileError("the profile file", path, err)
	}
	var file profileFile
	if err := json.Unmarshal(content, &file); err != nil {
		return nil, "", misconfigured("the profile file %s is not valid JSON", path)
	}
	wanted := name
	if wanted == "" {
		wanted = file.Current
	}
	if wanted == "" {
		return nil, path + " names no current profile", nil
	}
	found, ok := file.Profiles[wanted]
	if !ok {
		return nil, "", misconfigured("the profile file %s has no profile %q", path, wanted)
	}
	found.name, found.file = wanted, path
	// A relative path counts from the file in which it stands.
	for _, file := range []*string{&found.CAFile, &found.ClientSecretFile, &found.APIKeyFile} {
		if *file != "" && !filepath.IsAbs(*file) {
			*file = filepath.Join(filepath.Dir(path), *file)
		}
	}
	return &found, "", nil
}
