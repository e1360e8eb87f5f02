package config

import (
	"errors"
	"fmt"
	"io"
	"maps"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// A secret never stands in the file, which people commit and paste. Any string of a connection's block may be a
// reference instead:
//
//	env:NAME    the value of an environment variable of the process that uses the connection
//	file:PATH   the content of a file, without the line break at its end; a relative path starts from the folder of
//	            millrace.yaml
const (
	envReference  = "env:"
	fileReference = "file:"
)

// maxSecretFile bounds what a file: reference reads. Keys and service account files are a few KiB.
const maxSecretFile = 1 << 20

// secretWords mark a field, by a part of its name, whose value must be a reference.
var secretWords = []string{
	"secret", "password", "passphrase", "token", "private_key", "credential", "api_key", "apikey", "account_key",
	"authorization", "connection_string", "dsn", "signature",
}

func isSecretName(name string) bool {
	name = strings.ToLower(name)
	return slices.ContainsFunc(secretWords, func(word string) bool { return strings.Contains(name, word) })
}

var variableName = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]*$`)

// checkSecrets refuses a secret that is written out, without repeating it. Whatever stands below a secret field is
// secret as well.
func (c *Config) checkSecrets(value any, at field, secret bool) error {
	switch value := value.(type) {
	case map[string]any:
		for _, name := range slices.Sorted(maps.Keys(value)) {
			if err := c.checkSecrets(value[name], at.key(name), secret || isSecretName(name)); err != nil {
				return err
			}
		}
	case []any:
		for i, element := range value {
			if err := c.checkSecrets(element, at.index(i), secret); err != nil {
				return err
			}
		}
	case string:
		return c.checkSecretString(value, at, secret)
	case nil:
		return nil
	default:
		if secret {
			return c.literalSecret(at)
		}
	}
	return nil
}

func (c *Config) checkSecretString(value string, at field, secret bool) error {
	switch {
	case strings.HasPrefix(value, envReference):
		if name := strings.TrimPrefix(value, envReference); !variableName.MatchString(name) {
			return c.source.errorf(at, "%s must be followed by the name of an environment variable, such as env:AWS_SECRET_ACCESS_KEY", envReference)
		}
		return nil
	case strings.HasPrefix(value, fileReference):
		if strings.TrimPrefix(value, fileReference) == "" {
			return c.source.errorf(at, "%s must be followed by the path of a file, such as file:/run/secrets/key", fileReference)
		}
		return nil
	case secret:
		return c.literalSecret(at)
	}
	if address, err := url.Parse(value); err == nil && address.User != nil {
		if _, hasPassword := address.User.Password(); hasPassword {
			return c.source.errorf(at, "is a URL with a password in it: put the whole URL into an environment variable or a file, and write %sNAME or %sPATH here", envReference, fileReference)
		}
	}
	return nil
}

func (c *Config) literalSecret(at field) error {
	return c.source.errorf(at, "is a secret written out: put it into an environment variable or a file, and write %sNAME or %sPATH here", envReference, fileReference)
}

// resolve copies value with every reference replaced. at is the path inside the connection, for messages.
func (c *Config) resolve(value any, at field) (any, error) {
	switch value := value.(type) {
	case map[string]any:
		resolved := make(map[string]any, len(value))
		for _, name := range slices.Sorted(maps.Keys(value)) {
			element, err := c.resolve(value[name], at.key(name))
			if err != nil {
				return nil, err
			}
			resolved[name] = element
		}
		return resolved, nil
	case []any:
		resolved := make([]any, len(value))
		for i := range value {
			element, err := c.resolve(value[i], at.index(i))
			if err != nil {
				return nil, err
			}
			resolved[i] = element
		}
		return resolved, nil
	case string:
		text, err := c.resolveString(value)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", at, err)
		}
		return text, nil
	}
	return value, nil
}

func (c *Config) resolveString(value string) (string, error) {
	if !strings.HasPrefix(value, envReference) && !strings.HasPrefix(value, fileReference) {
		return value, nil
	}
	if path, isFile := strings.CutPrefix(value, fileReference); isFile && !filepath.IsAbs(path) {
		value = fileReference + filepath.Join(c.folder(), path)
	}
	return Resolve(value)
}

// Resolve gives what a reference, env:NAME or file:PATH, refers to now, and refuses, without repeating it, what is none. A
// relative path starts from the working folder.
func Resolve(reference string) (string, error) {
	if name, isVariable := strings.CutPrefix(reference, envReference); isVariable {
		content := os.Getenv(name)
		if content == "" {
			return "", fmt.Errorf("the environment variable %s is not set in this process: set it and start the process again", name)
		}
		return content, nil
	}
	if path, isFile := strings.CutPrefix(reference, fileReference); isFile {
		content, err := readSecretFile(path)
		if err != nil {
			return "", fmt.Errorf("read the secret: %w: put the file there, readable for this process", err)
		}
		return content, nil
	}
	return "", fmt.Errorf("is a secret written out, or nothing: put it into an environment variable or a file, and write %sNAME or %sPATH here", envReference, fileReference)
}

func readSecretFile(path string) (string, error) {
	file, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer file.Close()
	content, err := io.ReadAll(io.LimitReader(file, maxSecretFile+1))
	switch {
	case err != nil:
		return "", err
	case len(content) > maxSecretFile:
		return "", errors.New(path + " is longer than " + strconv.Itoa(maxSecretFile) + " bytes")
	}
	text := strings.TrimRight(string(content), "\r\n")
	if text == "" {
		return "", errors.New(path + " is empty")
	}
	return text, nil
}
