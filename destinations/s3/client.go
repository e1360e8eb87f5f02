package s3

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"net"
	"net/http"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/aws/ratelimit"
	"github.com/aws/aws-sdk-go-v2/aws/retry"
	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/credentials/stscreds"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/sts"

	"github.com/millrace/millrace/export"
)

// Limits of a request. Whatever they end is tried again by the workflow, with growing pauses, for hours.
const (
	// sendAttempts is how often the client itself sends a request that may be sent again.
	sendAttempts = 3
	// longestPause is the longest pause between two of them: a blip is over by then, and an outage is the workflow's.
	longestPause = 300 * time.Millisecond
	// requestTimeout is for a request and its repeats, but for those that carry or join a chunk's bytes.
	requestTimeout = time.Minute
	// transferTimeout is for a part of 8 MiB and its repeats, which is 28 KB/s, and for a completion, which AWS says
	// may take minutes.
	transferTimeout = 5 * time.Minute
	// dialTimeout and answerTimeout find a host that takes no connection, or never answers.
	dialTimeout   = 5 * time.Second
	answerTimeout = 90 * time.Second
)

// sender is one pool of connections for all destinations of the process: each activity opens its destination anew, and
// must not dial anew. A process with AWS_CA_BUNDLE set gets a pool for each client, with that bundle.
var sender = awshttp.NewBuildableClient().
	WithDialerOptions(func(d *net.Dialer) { d.Timeout = dialTimeout }).
	WithTransportOptions(func(t *http.Transport) {
		t.TLSHandshakeTimeout = dialTimeout
		t.ResponseHeaderTimeout = answerTimeout
		t.MaxIdleConnsPerHost = 64
		t.DisableCompression = true // a .gz file is to arrive as it lies there
	})

// clients keeps a client for each connection block, by its hash, so that credentials that the client fetches itself
// (web identity, instance) are fetched once and not for each activity.
var clients = struct {
	sync.Mutex
	byBlock map[[sha256.Size]byte]*s3.Client
}{byBlock: map[[sha256.Size]byte]*s3.Client{}}

// maxClients bounds the clients of keys that were rotated away.
const maxClients = 64

func clientFor(ctx context.Context, reach connection) (*s3.Client, error) {
	block, err := json.Marshal(reach)
	if err != nil {
		return nil, export.Errorf(export.KindInternal, "encode connection")
	}
	key := sha256.Sum256(block)
	clients.Lock()
	defer clients.Unlock()
	if client, known := clients.byBlock[key]; known {
		return client, nil
	}
	client, err := newClient(ctx, reach)
	if err != nil {
		return nil, err
	}
	if len(clients.byBlock) >= maxClients {
		clear(clients.byBlock)
	}
	clients.byBlock[key] = client
	return client, nil
}

func newClient(ctx context.Context, reach connection) (*s3.Client, error) {
	options := []func(*config.LoadOptions) error{config.WithHTTPClient(sender)}
	if reach.Region != "" {
		options = append(options, config.WithRegion(reach.Region))
	}
	if reach.AccessKeyID != "" {
		options = append(options, config.WithCredentialsProvider(
			credentials.NewStaticCredentialsProvider(reach.AccessKeyID, reach.SecretAccessKey, reach.SessionToken)))
	}
	if reach.Profile != "" {
		options = append(options, config.WithSharedConfigProfile(reach.Profile))
	}
	loaded, err := config.LoadDefaultConfig(ctx, options...)
	var missing config.SharedConfigProfileNotExistError
	if errors.As(err, &missing) && reach.Profile != "" {
		return nil, export.Errorf(export.KindConfig, "profile: %q is not in the AWS configuration of this machine (~/.aws/config and ~/.aws/credentials, or where AWS_CONFIG_FILE and AWS_SHARED_CREDENTIALS_FILE say): add it there, or name another", reach.Profile)
	}
	if err != nil {
		return nil, export.Errorf(export.KindConfig, "read the AWS configuration of this process (environment and profile): %w", err)
	}
	if loaded.Region == "" {
		return nil, export.Errorf(export.KindConfig, "region is missing: give the region of bucket %q in the connection, or set AWS_REGION", reach.Bucket)
	}
	loaded.Credentials = namedCredentials{CredentialsProvider: loaded.Credentials}
	if reach.RoleARN != "" {
		loaded.Credentials = namedCredentials{CredentialsProvider: aws.NewCredentialsCache(roleOf(loaded, reach), renewEarly), role: true}
	}
	return s3.NewFromConfig(loaded, func(o *s3.Options) {
		if reach.Endpoint != "" {
			o.BaseEndpoint = aws.String(reach.Endpoint)
		}
		o.UsePathStyle = *reach.PathStyle
		// Checksums are computed and compared here; the client's own would be of each part, not of the whole.
		o.RequestChecksumCalculation = aws.RequestChecksumCalculationWhenRequired
		o.ResponseChecksumValidation = aws.ResponseChecksumValidationWhenRequired
		o.Retryer = retryer()
	}), nil
}

func retryer() aws.Retryer {
	return retry.NewStandard(func(r *retry.StandardOptions) {
		r.MaxAttempts = sendAttempts
		r.MaxBackoff = longestPause
		r.RateLimiter = ratelimit.None // the workflow paces repeats
	})
}

// roleSession is how AWS's own logs name who took on the role.
const roleSession = "millrace"

// roleOf asks for the role's credentials with the ones that are at hand.
func roleOf(base aws.Config, reach connection) aws.CredentialsProvider {
	service := sts.NewFromConfig(base, func(o *sts.Options) {
		o.Retryer = retryer()
		if reach.STSEndpoint != "" {
			o.BaseEndpoint = aws.String(reach.STSEndpoint)
		}
	})
	return stscreds.NewAssumeRoleProvider(service, reach.RoleARN, func(o *stscreds.AssumeRoleOptions) {
		o.RoleSessionName = roleSession
		if reach.ExternalID != "" {
			o.ExternalID = aws.String(reach.ExternalID)
		}
	})
}

// renewEarly gives a request that begins with the last of a role's credentials the time to end with them.
func renewEarly(o *aws.CredentialsCacheOptions) {
	o.ExpiryWindow = transferTimeout
	o.ExpiryWindowJitterFrac = 0.5
}

// sendOnce is for requests whose repeat could mean something else.
func sendOnce(o *s3.Options) { o.RetryMaxAttempts = 1 }

// namedCredentials marks errors of the search for credentials, which the client does not tell from others by type.
type namedCredentials struct {
	aws.CredentialsProvider
	role bool // they are a role's, asked for over the network
}

type credentialsError struct {
	error
	role bool
}

func (e credentialsError) Unwrap() error { return e.error }

// Retrieve finds the credentials.
func (n namedCredentials) Retrieve(ctx context.Context) (aws.Credentials, error) {
	found, err := n.CredentialsProvider.Retrieve(ctx)
	if err != nil {
		return found, credentialsError{err, n.role}
	}
	return found, nil
}
