package postgres

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"net"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/millrace/millrace/destinations"
	"github.com/millrace/millrace/export"
)

// connection is a connection's block, either
//
//	{"url": "env:DATABASE_URL"}
//
// or
//
//	{"host": "db.example.com", "database": "shop", "user": "millrace", "password": "env:PGPASSWORD"}
type connection struct {
	// URL is postgres://user:password@host:port/database?sslmode=…, as libpq reads it. It holds a password, so it is a
	// reference. It excludes all fields below but CACertificate.
	URL string `json:"url,omitempty"`
	// Host is a name or an address.
	Host string `json:"host,omitempty"`
	// Port is 5432 when left out.
	Port int `json:"port,omitempty"`
	// Database is the database's name.
	Database string `json:"database,omitempty"`
	// User is the role.
	User string `json:"user,omitempty"`
	// Password is a reference.
	Password string `json:"password,omitempty"`
	// TLS is verify-full (the default), require, which encrypts and does not know whom it speaks with, or disable.
	TLS string `json:"tls,omitempty"`
	// CACertificate is the certificate, in PEM, by which the server's is trusted; the system's when left out.
	CACertificate string `json:"ca_certificate,omitempty"`
}

var connectionFields = []string{"url", "host", "port", "database", "user", "password", "tls", "ca_certificate"}

const (
	defaultPort    = 5432
	tlsVerify      = "verify-full"
	tlsRequire     = "require"
	tlsDisable     = "disable"
	connectTimeout = 15 * time.Second
)

// readConnection reads a block whose values may still be references.
func readConnection(block json.RawMessage) (connection, error) {
	var read connection
	if err := destinations.DecodeBlock(block, &read, connectionFields...); err != nil {
		return connection{}, err
	}
	if err := read.validate(); err != nil {
		return connection{}, err
	}
	if read.URL == "" {
		if read.Port == 0 {
			read.Port = defaultPort
		}
		if read.TLS == "" {
			read.TLS = tlsVerify
		}
	}
	return read, nil
}

func normalizeConnection(block json.RawMessage) (json.RawMessage, error) {
	read, err := readConnection(block)
	if err != nil {
		return nil, err
	}
	return destinations.EncodeBlock(read)
}

func isReference(value string) bool {
	return strings.HasPrefix(value, "env:") || strings.HasPrefix(value, "file:")
}

func (c connection) validate() error {
	rest := c
	rest.URL, rest.CACertificate = "", ""
	switch {
	case c.URL != "" && rest != connection{}:
		return export.Errorf(export.KindConfig, "url is given beside host, port, database, user, password or tls: give the url alone, or these without it")
	case c.URL != "":
		return c.validateURL()
	case c.Host == "":
		return export.Errorf(export.KindConfig, "host is missing: give host, database and user, or a url")
	case c.Database == "":
		return export.Errorf(export.KindConfig, "database is missing: name the database that the rows go to")
	case c.User == "":
		return export.Errorf(export.KindConfig, "user is missing: name the role that writes the rows")
	case c.Port < 0 || c.Port > 65535:
		return export.Errorf(export.KindConfig, "port: %d must be from 1 to 65535", c.Port)
	}
	switch c.TLS {
	case "", tlsVerify, tlsRequire, tlsDisable:
		return nil
	}
	return export.Errorf(export.KindConfig, "tls: %q is unknown: use %s, %s or %s", c.TLS, tlsVerify, tlsRequire, tlsDisable)
}

// validateURL does not repeat the URL: it holds a password.
func (c connection) validateURL() error {
	if isReference(c.URL) {
		return nil
	}
	address, err := url.Parse(c.URL)
	if err != nil || address.Scheme != "postgres" && address.Scheme != "postgresql" || address.Hostname() == "" || strings.Trim(address.Path, "/") == "" {
		return export.Errorf(export.KindConfig, "url: is not an address of a database: give it as postgres://user:password@host:5432/database")
	}
	return nil
}

// config is what the client is told. Secrets are in it.
func (c connection) config() (*pgx.ConnConfig, error) {
	address := c.URL
	if address == "" {
		whole := url.URL{
			Scheme: "postgres", Host: net.JoinHostPort(c.Host, strconv.Itoa(c.Port)), Path: "/" + c.Database,
			RawQuery: url.Values{"sslmode": {c.TLS}}.Encode(), User: url.UserPassword(c.User, c.Password),
		}
		address = whole.String()
	}
	config, err := pgx.ParseConfig(address)
	if err != nil { // the error's text may hold the password
		return nil, export.Errorf(export.KindConfig, "the connection cannot be read: check url, or host, port, database, user and tls")
	}
	if c.CACertificate != "" {
		if err := trust(config, c.CACertificate); err != nil {
			return nil, err
		}
	}
	config.ConnectTimeout = connectTimeout
	config.RuntimeParams["application_name"] = "millrace"
	// Statements are not kept at the server, so that a pooler may stand between.
	config.DefaultQueryExecMode = pgx.QueryExecModeExec
	return config, nil
}

func trust(config *pgx.ConnConfig, certificate string) error {
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM([]byte(certificate)) {
		return export.Errorf(export.KindConfig, "ca_certificate: holds no certificate in PEM form: give it as file:PATH of one")
	}
	configs := []*tls.Config{config.TLSConfig}
	for _, fallback := range config.Fallbacks {
		configs = append(configs, fallback.TLSConfig)
	}
	for _, one := range configs {
		if one != nil {
			one.RootCAs = pool
		}
	}
	return nil
}

// place is the database as messages name it: `database "shop" at db.example.com:5432`.
func (d *Destination) place() string {
	return fmt.Sprintf("database %q at %s", d.config.Database, net.JoinHostPort(d.config.Host, strconv.Itoa(int(d.config.Port))))
}

// location is where a run's row lies, for people: postgres://host:port/database/schema.millrace_runs.
func (d *Destination) location() string {
	return fmt.Sprintf("postgres://%s/%s/%s.%sruns", net.JoinHostPort(d.config.Host, strconv.Itoa(int(d.config.Port))), d.config.Database, d.settings.Schema, ownPrefix)
}
