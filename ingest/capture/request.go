package capture

import (
	"bytes"
	"compress/gzip"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"net/url"
	"strings"
)

// firstBytes is what a request holds of the budget before its first byte is read: its buffers and goroutine.
const firstBytes = 64 << 10

// readText reads the JSON text of a request: plain, gzipped, or in the field `data` of a form, as browsers send it.
// What it holds in memory is in the share.
func (c *Capture) readText(w http.ResponseWriter, r *http.Request, held *share) ([]byte, *answer) {
	encoding := strings.ToLower(strings.TrimSpace(r.Header.Get("Content-Encoding")))
	switch encoding {
	case "", "identity", "gzip", "x-gzip":
	default:
		return nil, problem(http.StatusUnsupportedMediaType, errEncoding, "the content encoding is neither gzip nor none; send JSON plain or gzipped")
	}
	switch compression := r.URL.Query().Get("compression"); compression {
	case "", "gzip", "gzip-js", "base64", "none":
	default:
		return nil, problem(http.StatusUnsupportedMediaType, errEncoding, "the parameter compression is none of gzip, gzip-js and base64; send JSON plain or gzipped")
	}
	if r.ContentLength > c.config.MaxBodyBytes {
		w.Header().Set("Connection", "close") // or the rest of it would have to be read
		return nil, c.bodyTooLarge()
	}
	text, failed := c.readAll(http.MaxBytesReader(w, r.Body, c.config.MaxBodyBytes), r.ContentLength, held, brokenOff)
	if failed != nil {
		return nil, failed
	}
	if len(text) == 0 {
		return nil, problem(http.StatusBadRequest, errNoBody, "the request has no body; send an event, an array of events or a batch as JSON")
	}
	// Some browsers gzip without saying so, and some proxies unpack without taking the parameter away, so the bytes
	// decide; only the header is held to its word.
	zipped := bytes.HasPrefix(text, []byte{0x1f, 0x8b})
	if zipped || strings.HasSuffix(encoding, "gzip") {
		if text, failed = c.unzip(text, held); failed != nil {
			return nil, failed
		}
	}
	if mediaType, _, _ := mime.ParseMediaType(r.Header.Get("Content-Type")); mediaType == "application/x-www-form-urlencoded" || bytes.HasPrefix(text, []byte("data=")) {
		if text, failed = c.formData(text, held); failed != nil {
			return nil, failed
		}
	}
	if len(bytes.TrimSpace(text)) == 0 {
		return nil, problem(http.StatusBadRequest, errNoBody, "the body is empty; send an event, an array of events or a batch as JSON")
	}
	held.hold(firstBytes + int64(cap(text))) // less than before
	return text, nil
}

// readAll reads to the end, at most MaxBodyBytes. expected is the size if it is known, and only a hint. An error of
// from that is no breach of the bound is told as broken says.
func (c *Capture) readAll(from io.Reader, expected int64, held *share, broken func(error) *answer) ([]byte, *answer) {
	before := held.held
	size := min(max(expected+1, 4<<10), 1<<20) // what was only announced is not believed beyond a mebibyte
	var text []byte
	for {
		if !held.hold(before + int64(len(text)) + size) {
			return nil, busy()
		}
		text = append(make([]byte, 0, size), text...)
		for len(text) < cap(text) {
			n, err := from.Read(text[len(text):cap(text)])
			text = text[:len(text)+n]
			_, overBound := errors.AsType[*http.MaxBytesError](err)
			switch {
			case overBound || int64(len(text)) > c.config.MaxBodyBytes:
				return nil, c.bodyTooLarge()
			case errors.Is(err, io.EOF):
				return text, nil
			case err != nil:
				return nil, broken(err)
			}
		}
		size = min(2*size, c.config.MaxBodyBytes+1)
	}
}

func (c *Capture) unzip(text []byte, held *share) ([]byte, *answer) {
	reader, err := gzip.NewReader(bytes.NewReader(text))
	if err != nil {
		return nil, brokenGzip(err)
	}
	defer reader.Close()
	return c.readAll(reader, 4*int64(len(text)), held, brokenGzip)
}

// formData is the text in the field `data`, as JSON or as base64 of JSON. A body that is JSON under this content type,
// as `curl -d` sends it, is taken as it is.
func (c *Capture) formData(text []byte, held *share) ([]byte, *answer) {
	if looksLikeJSON(string(text[:min(len(text), 64)])) {
		return text, nil
	}
	if !held.hold(held.held + 3*int64(len(text))) {
		return nil, busy()
	}
	form, err := url.ParseQuery(string(text))
	data := form.Get("data")
	if err != nil || data == "" {
		return nil, problem(http.StatusBadRequest, errBrokenBody, "the form has no field data; send JSON, or a form whose field data holds it")
	}
	if looksLikeJSON(data) {
		return []byte(data), nil
	}
	data = strings.NewReplacer(" ", "+", "-", "+", "_", "/", "\n", "", "\r", "").Replace(data)
	decoded, err := base64.RawStdEncoding.DecodeString(strings.TrimRight(data, "="))
	if err != nil {
		return nil, problem(http.StatusBadRequest, errBrokenBody, "the form's field data is neither JSON nor base64 of JSON")
	}
	return decoded, nil
}

func looksLikeJSON(text string) bool {
	text = strings.TrimLeft(text, " \t\r\n")
	return strings.HasPrefix(text, "{") || strings.HasPrefix(text, "[")
}

func (c *Capture) bodyTooLarge() *answer {
	return problem(http.StatusRequestEntityTooLarge, errTooLarge,
		fmt.Sprintf("the body is more than %d bytes, counted after decompression; send the events in several requests", c.config.MaxBodyBytes))
}

func brokenOff(error) *answer {
	return problem(http.StatusBadRequest, errBrokenBody, "the body broke off before its end; send it again")
}

func brokenGzip(err error) *answer {
	return problem(http.StatusBadRequest, errBrokenGzip, fmt.Sprintf("the body is not gzip to its end: %v", err))
}

func busy() *answer {
	return comeAgain(retryAfterBusy, errBusy, "too many requests are in flight; nothing was kept, send this request again")
}
