package config

import (
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"strings"
)

const redacted = "[secret]"

// checkDatabaseURL refuses what names no database of a kind that we know. Its
// errors never repeat the URL, which may carry a password.
func checkDatabaseURL(v string) error {
	if path, ok := strings.CutPrefix(v, "sqlite:"); ok {
		if !filepath.IsAbs(path) {
			return errors.New("after sqlite: comes an absolute path")
		}
		return nil
	}
	u, err := url.Parse(v)
	if err != nil || (u.Scheme != "postgres" && u.Scheme != "postgresql") {
		return errors.New("it must be postgres://user@host/name or sqlite:/absolute/path")
	}
	return nil
}

// urlPassword reports whether a database URL carries a password in any of the
// places where the driver would find one.
func urlPassword(v string) bool {
	u, err := url.Parse(v)
	if err != nil {
		return strings.Contains(v, "@")
	}
	_, set := u.User.Password()
	return set || u.Query().Has("password") || u.Query().Has("sslpassword")
}

// redactURL is the URL without its password.
func redactURL(v string) string {
	if !urlPassword(v) {
		return v
	}
	u, err := url.Parse(v)
	if err != nil {
		return redacted
	}
	user := ""
	if u.User != nil {
		user = u.User.Username() + ":" + redacted + "@"
	}
	query := u.Query()
	for _, name := range []string{"password", "sslpassword"} {
		query.Del(name)
	}
	text := u.Scheme + "://" + user + u.Host + u.Path
	if encoded := query.Encode(); encoded != "" {
		text += "?" + encoded
	}
	return text
}

// DatabaseURL is the complete URL to connect with. The password file is read
// each time, so that a rotated password is picked up by a restart alone.
func (c *Config) DatabaseURL() (string, error) {
	text := c.Database.URL.Reveal()
	if c.Database.PasswordFile == "" || strings.HasPrefix(text, "sqlite:") {
		return text, nil
	}
	content, err := os.ReadFile(c.Database.PasswordFile)
	if err != nil {
		return "", fmt.Errorf("database.password_file: %w", err)
	}
	u, err := url.Parse(text)
	if err != nil {
		return "", errors.New("database.url: it is no URL")
	}
	u.User = url.UserPassword(u.User.Username(), strings.TrimRight(string(content), "\r\n"))
	return u.String(), nil
}
