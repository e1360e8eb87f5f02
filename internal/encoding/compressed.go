package encoding

import (
	"errors"
	"io"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
)

// maxZstdWindow bounds the memory of a count. ClickHouse's default level 3 has a window of 2 MiB, its highest of 128.
const maxZstdWindow = 128 << 20

// compressed counts a text inside gzip or zstd. The decoders only read, so one goroutine reads the end of a pipe that
// Write fills; it ends with finish or close.
type compressed struct {
	input *io.PipeWriter
	done  chan struct{}
	fed   bool

	// Written by the goroutine before done is closed.
	rows uint64
	err  error
}

var errGivenUp = errors.New("count was given up")

func newCompressed(text file, open func(io.Reader) (io.ReadCloser, error)) *compressed {
	output, input := io.Pipe()
	c := &compressed{input: input, done: make(chan struct{})}
	go func() {
		defer close(c.done)
		c.rows, c.err = countInside(output, text, open)
		reason := c.err
		if reason == nil {
			reason = notWhole("bytes follow the end of the file")
		}
		output.CloseWithError(reason) // so that no Write waits for a reader that is gone
	}()
	return c
}

func countInside(input io.Reader, text file, open func(io.Reader) (io.ReadCloser, error)) (uint64, error) {
	decoder, err := open(input)
	if err != nil {
		return 0, notWhole("read compressed file: %w", err)
	}
	defer decoder.Close()
	buffer := make([]byte, 64<<10)
	for {
		n, err := decoder.Read(buffer)
		if _, broken := text.Write(buffer[:n]); broken != nil {
			return 0, broken
		}
		switch {
		case errors.Is(err, io.EOF):
			return text.finish()
		case err != nil:
			return 0, notWhole("read compressed file: %w", err)
		}
	}
}

func openGzip(input io.Reader) (io.ReadCloser, error) { return gzip.NewReader(input) }

func openZstd(input io.Reader) (io.ReadCloser, error) {
	decoder, err := zstd.NewReader(input, zstd.WithDecoderConcurrency(1), zstd.WithDecoderLowmem(true), zstd.WithDecoderMaxWindow(maxZstdWindow))
	if err != nil {
		return nil, err
	}
	return decoder.IOReadCloser(), nil
}

func (c *compressed) Write(p []byte) (int, error) {
	if len(p) == 0 { // a pipe would wait for a reader
		return 0, nil
	}
	c.fed = true
	return c.input.Write(p)
}

func (c *compressed) finish() (uint64, error) {
	_ = c.input.Close()
	<-c.done
	if c.err == nil && !c.fed {
		return 0, notWhole("there is no byte of it")
	}
	return c.rows, c.err
}

func (c *compressed) close() {
	c.input.CloseWithError(errGivenUp)
	<-c.done
}
