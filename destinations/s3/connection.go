package s3

import (
	"encoding/json"
	"net/url"
	"regexp"
	"strings"

	"github.com/millrace/millrace/destinations"
	"github.com/millrace/millrace/export"
)

// connection is a connection's block:
//
//	{"bucket": "lake", "region": "us-east-1", "endpoint": "https://s3.example.com", "access_key_id": "…", "secret_access_key": "…"}
type connection struct {
	// Bucket is needed. It is never made by Millrace.
	Bucket string `json:"bucket"`
	// Region is the bucket's; left out, it is what AWS_REGION and the AWS profile say, or us-east-1 with an endpoint.
	Region string `json:"region,omitempty"`
	// Endpoint is the store's address when it is not AWS: http:// or https://, host and port, nothing after.
	Endpoint string `json:"endpoint,omitempty"`
	// AccessKeyID and SecretAccessKey are the credentials. Both left out, they come from where AWS programs look:
	// environment, profile, web identity, container, instance.
	AccessKeyID     string `json:"access_key_id,omitempty"`
	SecretAccessKey string `json:"secret_access_key,omitempty"`
	// SessionToken belongs to credentials that expire.
	SessionToken string `json:"session_token,omitempty"`
	// Profile names a profile of the AWS configuration of the worker's machine, instead of keys.
	Profile string `json:"profile,omitempty"`
	// RoleARN is a role that is taken on with these credentials, whichever they are. Its own expire, and are renewed.
	RoleARN string `json:"role_arn,omitempty"`
	// ExternalID is what the role's owner asks for besides.
	ExternalID string `json:"external_id,omitempty"`
	// STSEndpoint is where the role is asked for when that is not AWS.
	STSEndpoint string `json:"sts_endpoint,omitempty"`
	// PathStyle puts the bucket into the path instead of the host name; left out, it is true with an endpoint.
	PathStyle *bool `json:"path_style,omitempty"`
	// Encryption is how the store encrypts what is written; left out, as the bucket has set.
	Encryption json.RawMessage `json:"encryption,omitempty"`

	encryption *encryption
}

var connectionFields = []string{"bucket", "region", "endpoint", "access_key_id", "secret_access_key", "session_token",
	"profile", "role_arn", "external_id", "sts_endpoint", "path_style", "encryption"}

// bucketName is wider than AWS's rule of today: old buckets have capitals and underscores, and so do other stores'.
var bucketName = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]{1,253}[A-Za-z0-9]$`)

// defaultRegion is what stores beside AWS expect in a signature unless they were told otherwise.
const defaultRegion = "us-east-1"

// readConnection reads a block whose values may still be references ("env:NAME", "file:PATH"): those are checked when
// they are resolved.
func readConnection(block json.RawMessage) (connection, error) {
	var read connection
	if err := destinations.DecodeBlock(block, &read, connectionFields...); err != nil {
		return connection{}, err
	}
	if err := read.validate(); err != nil {
		return connection{}, err
	}
	var err error
	if read.encryption, err = readEncryption(read.Encryption); err != nil {
		return connection{}, err
	}
	if read.Encryption = nil; read.encryption != nil {
		if read.Encryption, err = destinations.EncodeBlock(read.encryption); err != nil {
			return connection{}, err
		}
	}
	if read.Endpoint != "" && read.Region == "" {
		read.Region = defaultRegion
	}
	if read.PathStyle == nil {
		pathStyle := read.Endpoint != ""
		read.PathStyle = &pathStyle
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
	switch {
	case c.Bucket == "":
		return export.Errorf(export.KindConfig, "bucket is missing: name the bucket that the files go to")
	case !isReference(c.Bucket) && !bucketName.MatchString(c.Bucket):
		return export.Errorf(export.KindConfig, "bucket: %q is not a bucket's name: give the name alone, such as \"lake\"; folders go into the export's prefix", c.Bucket)
	case c.AccessKeyID == "" && c.SecretAccessKey != "":
		return export.Errorf(export.KindConfig, "secret_access_key is given without access_key_id: give both, or neither for the AWS default credentials")
	case c.AccessKeyID != "" && c.SecretAccessKey == "":
		return export.Errorf(export.KindConfig, "access_key_id is given without secret_access_key: give both, or neither for the AWS default credentials")
	case c.SessionToken != "" && c.AccessKeyID == "":
		return export.Errorf(export.KindConfig, "session_token is given without access_key_id and secret_access_key: give all three")
	}
	if err := c.validateRole(); err != nil {
		return err
	}
	if err := validateEndpoint("sts_endpoint", c.STSEndpoint); err != nil {
		return err
	}
	return validateEndpoint("endpoint", c.Endpoint)
}

// roleARN is told by what every role's has.
var roleARN = regexp.MustCompile(`^arn:[a-z0-9-]+:iam::[0-9]*:role/.+$`)

func (c connection) validateRole() error {
	switch {
	case c.Profile != "" && c.AccessKeyID != "":
		return export.Errorf(export.KindConfig, "profile: %q is given beside access_key_id: give one of the two", c.Profile)
	case c.RoleARN != "" && !isReference(c.RoleARN) && !roleARN.MatchString(c.RoleARN):
		return export.Errorf(export.KindConfig, "role_arn: %q is not a role's: give it as arn:aws:iam::111122223333:role/name", c.RoleARN)
	case c.RoleARN == "" && c.ExternalID != "":
		return export.Errorf(export.KindConfig, "external_id is given without role_arn, which alone asks for it: give both, or neither")
	case c.RoleARN == "" && c.STSEndpoint != "":
		return export.Errorf(export.KindConfig, "sts_endpoint: %q is given without role_arn, which alone is asked for there: give both, or neither", c.STSEndpoint)
	}
	return nil
}

func validateEndpoint(field, endpoint string) error {
	if endpoint == "" || isReference(endpoint) {
		return nil
	}
	address, err := url.Parse(endpoint)
	switch {
	case err == nil && address.User != nil: // not repeated: it may hold a password
		return export.Errorf(export.KindConfig, "%s: has a user in it: put the keys into access_key_id and secret_access_key", field)
	case err != nil, address.Scheme != "http" && address.Scheme != "https", address.Hostname() == "":
		return export.Errorf(export.KindConfig, "%s: %q is not an address: give it as https://host or http://host:port", field, endpoint)
	case strings.Trim(address.Path, "/") != "", address.RawQuery != "", address.Fragment != "":
		return export.Errorf(export.KindConfig, "%s: %q has more than scheme, host and port: the bucket goes into bucket, folders into the export's prefix", field, endpoint)
	}
	return nil
}
