package s3

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strings"
	"syscall"

	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	"github.com/aws/smithy-go"

	"github.com/millrace/millrace/export"
)

// place is a bucket as messages name it.
type place struct{ bucket, endpoint, region string }

func (c connection) place(region string) place {
	return place{bucket: c.Bucket, endpoint: c.Endpoint, region: region}
}

// String is `bucket "lake" at http://127.0.0.1:9000`, or `bucket "lake" in us-east-1`.
func (p place) String() string {
	if p.endpoint == "" {
		return fmt.Sprintf("bucket %q in %s", p.bucket, p.region)
	}
	return fmt.Sprintf("bucket %q at %s", p.bucket, p.endpoint)
}

const tryAgain = export.TryAgain

// Verdicts that several codes share.
var (
	unknownBucket = export.KindNotFound.Means("the bucket does not exist: create it, or correct bucket in the connection")
	unknownKey    = export.KindAuth.Means("the store does not know this access key: correct access_key_id in the connection")
	expiredToken  = export.KindAuth.Means("the credentials have expired, or do not belong together: renew access_key_id, secret_access_key and session_token in the connection")
	denied        = export.KindPermission.Means("access is denied: allow these credentials s3:ListBucket on the bucket, and s3:GetObject, s3:PutObject and s3:AbortMultipartUpload on the prefix")
	unknownKMSKey = export.KindPermission.Means("the encryption key does not exist: correct key of encryption in the connection, or the bucket's own encryption")
	wrongRegion   = export.KindConfig.Means("the bucket is in another region, or the endpoint belongs to another: correct region and endpoint in the connection")
	tooFast       = export.KindQuota.Means("the store asks to slow down: " + tryAgain)
	full          = export.KindQuota.Means("the store is full: make room")
	inTrouble     = export.KindDestinationUnavailable.Means("the store has trouble of its own: " + tryAgain)
	damaged       = export.KindDestinationUnavailable.Means("bytes were damaged on their way: " + tryAgain)
	unsupported   = export.KindConfig.Means("the store cannot do what Millrace needs (conditional writes, checksums): `millrace check` says what")
)

// codes is the whole table of codes. Sources: https://docs.aws.amazon.com/AmazonS3/latest/API/ErrorResponses.html
// and, where a name is not Amazon's, the store that sends it.
var codes = export.Codes{
	"NoSuchBucket":      unknownBucket,
	"InvalidBucketName": export.KindConfig.Means("the store refuses this name of a bucket: correct bucket in the connection"),

	"InvalidAccessKeyId":    unknownKey,
	"SignatureDoesNotMatch": export.KindAuth.Means("the secret does not fit the access key: correct secret_access_key in the connection"),
	"ExpiredToken":          expiredToken,
	"InvalidToken":          expiredToken,
	"InvalidTokenId":        expiredToken, // MinIO
	"TokenRefreshRequired":  expiredToken,
	"XAdminUserNotFound":    unknownKey, // versitygw without accounts, with status 404
	"NotSignedUp":           unknownKey,
	"RequestTimeTooSkewed":  export.KindConfig.Means("this machine's clock differs from the store's by too much: set it right"),

	"AccessDenied":          denied,
	"Forbidden":             denied,
	"AllAccessDisabled":     denied,
	"AccountProblem":        denied,
	"MethodNotAllowed":      denied,
	"InvalidObjectState":    denied,
	"KMS.DisabledException": export.KindPermission.Means("the bucket's encryption key is disabled: enable it"),
	"KMS.NotFoundException": unknownKMSKey,
	"kms:KeyNotFound":       unknownKMSKey, // MinIO, with status 404

	"PermanentRedirect":                  wrongRegion,
	"AuthorizationHeaderMalformed":       wrongRegion,
	"IllegalLocationConstraintException": wrongRegion,
	"InvalidRegionName":                  wrongRegion,
	"InvalidLocationConstraint":          wrongRegion,
	"NotImplemented":                     unsupported,
	"InvalidArgument":                    unsupported,
	"InvalidRequest":                     unsupported,
	"KeyTooLongError":                    export.KindConfig.Means("a key is too long: make prefix shorter"),
	"EntityTooLarge":                     export.KindConfig.Means("a file is too large for the store: make chunk_rows smaller"),
	"XMinioObjectNameDuplicatesPrefix":   export.KindConfig.Means("the store cannot hold a file and a folder of one name: choose another prefix"),
	"XMinioInvalidObjectName":            export.KindConfig.Means("the store refuses the key's name: choose another prefix"),
	"ObjectParentIsFile":                 export.KindConfig.Means("the store cannot hold a file and a folder of one name: choose another prefix"),
	"ExistingObjectIsDirectory":          export.KindConfig.Means("the store cannot hold a file and a folder of one name: choose another prefix"),
	"SlowDown":                           tooFast,
	"SlowDownRead":                       tooFast,
	"SlowDownWrite":                      tooFast,
	"TooManyRequests":                    tooFast,
	"RequestLimitExceeded":               tooFast,
	"Throttling":                         tooFast,
	"ThrottlingException":                tooFast,
	"BandwidthLimitExceeded":             tooFast,
	"QuotaExceeded":                      full,
	"XMinioStorageFull":                  full,
	"XMinioAdminBucketQuotaExceeded":     full,
	"InternalError":                      inTrouble,
	"ServiceUnavailable":                 inTrouble,
	"RequestTimeout":                     inTrouble,
	"OperationAborted":                   inTrouble,
	"ConditionalRequestConflict":         inTrouble,
	"XMinioServerNotInitialized":         inTrouble,
	"BadDigest":                          damaged,
	"InvalidDigest":                      damaged,
	"XAmzContentSHA256Mismatch":          damaged,
	"XAmzContentChecksumMismatch":        damaged,
	"IncompleteBody":                     damaged,
	"NoSuchUpload":                       export.KindDestinationUnavailable.Means("the upload was taken away by somebody else, or by the bucket's lifecycle rule: " + tryAgain),
	"InvalidPart":                        export.KindDestinationUnavailable.Means("the store lost a part of the upload: " + tryAgain),
	"NoSuchKey":                          export.KindNotFound.Means("the object is not there"),
}

// explain classifies an error of a request and words it for people: what was tried, where, what the store said, what
// to do. The error of the client stays out of the chain, for workflow history prints causes; nothing in it is needed
// after the verdict. ctx is the caller's, not that of the request's own time limit.
func (d *Destination) explain(ctx context.Context, act string, err error) error {
	if err == nil {
		return nil
	}
	if cause := ctx.Err(); cause != nil { // whatever else went wrong came of it
		return export.Errorf(export.KindCancelled, "%s: %s: %w", act, d.place, cause)
	}
	var classified *export.Error
	if errors.As(err, &classified) {
		return fmt.Errorf("%s: %w", act, err)
	}
	found := judge(err)
	return export.Errorf(found.Kind, "%s: %s: %s", act, d.place, found.Text)
}

// judge is explain without words around. What the answer's code says goes first, then its status, then the network.
func judge(err error) export.Verdict {
	var api smithy.APIError
	var response *awshttp.ResponseError
	var credentials credentialsError
	switch {
	case errors.As(err, &credentials):
		return judgeCredentials(credentials)
	case errors.As(err, &api):
		found, known := codes[api.ErrorCode()]
		if !known {
			found = judgeStatus(statusOf(err))
		}
		return found.Kind.Means(fmt.Sprintf("%s (%s)", found.Text, answerOf(api, err)))
	case errors.As(err, &response) && response.HTTPStatusCode() != 0:
		found := judgeStatus(response.HTTPStatusCode())
		return found.Kind.Means(fmt.Sprintf("%s (HTTP status %d)", found.Text, response.HTTPStatusCode()))
	}
	return judgeNetwork(err)
}

// answerOf is the store's own words, as far as they help: a code alone where the table explains it, and the message of
// a denial, which with AWS names the missing right.
func answerOf(api smithy.APIError, err error) string {
	code := api.ErrorCode()
	if code == "AccessDenied" || codes[code] == (export.Verdict{}) {
		if message := strings.TrimSpace(api.ErrorMessage()); message != "" {
			const longest = 300
			if len(message) > longest {
				message = message[:longest] + "…"
			}
			code += ": " + strings.ToValidUTF8(message, "")
		}
	}
	if codes[api.ErrorCode()] == (export.Verdict{}) {
		var response *awshttp.ResponseError
		if errors.As(err, &response) && response.ServiceRequestID() != "" {
			code += ", request " + response.ServiceRequestID()
		}
	}
	return code
}

func judgeStatus(status int) export.Verdict {
	switch {
	case status == http.StatusUnauthorized:
		return unknownKey
	case status == http.StatusForbidden:
		return denied
	case status == http.StatusNotFound:
		return export.KindNotFound.Means("the bucket or the object is not there")
	case status == http.StatusMovedPermanently || status == http.StatusTemporaryRedirect:
		return wrongRegion
	case status == http.StatusTooManyRequests:
		return tooFast
	case status == http.StatusInsufficientStorage:
		return full
	case status == http.StatusNotImplemented:
		return unsupported
	case status >= 500:
		return inTrouble
	}
	return export.KindInternal.Means("the store answered what Millrace does not expect: please report it")
}

func judgeCredentials(err credentialsError) export.Verdict {
	if status := statusOf(err.error); status >= 500 || status == http.StatusTooManyRequests {
		return export.KindDestinationUnavailable.Means("the service that gives out AWS credentials has trouble: " + tryAgain)
	}
	var base credentialsError
	if err.role && !errors.As(err.error, &base) {
		return judgeRole(err.error)
	}
	return export.KindAuth.Means("no AWS credentials were found: give access_key_id and secret_access_key in the connection, or set the worker's AWS environment, profile or role")
}

// judgeRole judges the refusal of a role by the service that gives out its credentials.
func judgeRole(err error) export.Verdict {
	refused := export.KindPermission.Means("the role was refused: correct role_arn, external_id and the keys that ask for it in the connection, or whom the role trusts")
	switch code := codeOf(err); {
	case code == "":
		return judgeNetwork(err)
	case code == "AccessDenied" || code == "ValidationError" || code == "InvalidParameterValue":
		return refused.Kind.Means(refused.Text + " (" + code + ")")
	case code == "InvalidClientTokenId":
		return unknownKey.Kind.Means(unknownKey.Text + " (" + code + ")")
	default:
		found, known := codes[code]
		if !known || found.Kind == export.KindNotFound {
			found = refused
		}
		return found.Kind.Means(found.Text + " (" + code + ")")
	}
}

func judgeNetwork(err error) export.Verdict {
	unavailable := export.KindDestinationUnavailable.Means
	const start = "check that the store runs, and endpoint in the connection; " + tryAgain
	var dns *net.DNSError
	var certificate *tls.CertificateVerificationError
	var record tls.RecordHeaderError
	var network net.Error
	switch {
	case errors.As(err, &certificate):
		return export.KindConfig.Means("the endpoint's TLS certificate is not trusted: add its authority to the worker's system, or correct endpoint in the connection")
	case errors.Is(err, http.ErrSchemeMismatch), errors.As(err, &record):
		return export.KindConfig.Means("the endpoint does not speak TLS: write http:// instead of https:// in the connection")
	case errors.As(err, &dns) && dns.IsNotFound:
		return unavailable(fmt.Sprintf("the host %q is not known: %s", dns.Name, start))
	case errors.Is(err, syscall.ECONNREFUSED):
		return unavailable("the connection was refused: " + start)
	case errors.Is(err, syscall.EHOSTUNREACH), errors.Is(err, syscall.ENETUNREACH):
		return unavailable("the host cannot be reached: " + start)
	case errors.Is(err, context.DeadlineExceeded), errors.As(err, &network) && network.Timeout():
		return unavailable("there was no answer in time: " + start)
	}
	return unavailable("the connection broke off: " + start)
}

// statusOf is the HTTP status of an answer, or 0 when there was none.
func statusOf(err error) int {
	var response *awshttp.ResponseError
	if errors.As(err, &response) {
		return response.HTTPStatusCode()
	}
	return 0
}

// codeOf is the store's code, or "".
func codeOf(err error) string {
	var api smithy.APIError
	if errors.As(err, &api) {
		return api.ErrorCode()
	}
	return ""
}

// refused tells that a conditional write found its key taken.
func refused(err error) bool { return statusOf(err) == http.StatusPreconditionFailed }

// collided tells that a conditional write met another at the same moment: who won is not known yet.
func collided(err error) bool { return statusOf(err) == http.StatusConflict }

// unsure tells that nobody knows whether the request had its effect: there was no answer, or one of the store's own
// trouble.
func unsure(err error) bool {
	status := statusOf(err)
	return status == 0 || status >= 500
}
