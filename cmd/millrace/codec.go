package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/millrace/millrace/export"
	"github.com/millrace/millrace/internal/codec"
	"github.com/millrace/millrace/internal/config"
)

// defaultCodecListen is beside the ports of Temporal's development server.
const defaultCodecListen = "127.0.0.1:8234"

func (p *program) codec() *cobra.Command {
	var listen, authorization string
	var origins []string
	command := &cobra.Command{
		Use:     "codec",
		GroupID: groupServe,
		Short:   "Decrypt for the Temporal UI and its command line",
		Long: `Serve Temporal's remote codec, by which its UI and its command line show what Millrace encrypted:
POST /encode and /decode. The keys come from MILLRACE_CODEC_KEYS, as those of workers. Give its
address to the UI (the glasses at the top, or temporal server start-dev --ui-codec-endpoint) or to
temporal workflow show --codec-endpoint. docs/encryption.md shows how.

Who reaches it can read everything. So it listens on this machine alone, pages of other sites are
refused, and at any other address it asks for an Authorization header.`,
		Example: `  MILLRACE_CODEC_KEYS=k1=env:MILLRACE_CODEC_KEY millrace codec
  millrace codec --listen :8234 --origin https://temporal.example.com --authorization env:TOKEN`,
		Args: exactly(0, "no arguments"),
		RunE: func(cmd *cobra.Command, _ []string) error {
			log, err := p.log()
			if err != nil {
				return err
			}
			endpoint, err := newEndpoint(listen, authorization, origins)
			if err != nil {
				return err
			}
			return together(cmd.Context(), log, []part{{"codec", func(ctx context.Context) error {
				return serveCodec(ctx, listen, endpoint, func(address string) {
					log.Info("the codec answers", "url", "http://"+address, "origins", strings.Join(endpoint.Origins, ","))
				})
			}}})
		},
	}
	flags := command.Flags()
	flags.StringVar(&listen, "listen", defaultCodecListen, "answer at this `address`")
	flags.StringSliceVar(&origins, "origin", nil, "let pages of this `origin` ask, several separated by commas (default that of $TEMPORAL_UI_URL, or http://localhost:8233 and http://127.0.0.1:8233)")
	flags.StringVar(&authorization, "authorization", "", "ask for this Authorization header, by a `reference`: env:NAME or file:PATH")
	flags.StringVar(&p.logLevel, "log-level", "info", "log from this `level` on: debug, info, warn or error")
	return command
}

// newEndpoint checks what was asked for: nothing is served to a network without a password.
func newEndpoint(listen, authorization string, origins []string) (codec.Endpoint, error) {
	env, err := config.ReadEnvironment()
	if err != nil {
		return codec.Endpoint{}, err
	}
	endpoint := codec.Endpoint{Origins: origins}
	if endpoint.Codec, err = config.Codec(); err != nil {
		return endpoint, err
	}
	if !endpoint.Codec.Encrypts() {
		return endpoint, export.Errorf(export.KindConfig, "%s is not set, so there is nothing to decrypt with: give it as the workers have it, such as k1=env:MILLRACE_CODEC_KEY", config.VarCodecKeys)
	}
	if authorization != "" {
		if endpoint.Authorization, err = config.Resolve(authorization); err != nil {
			return endpoint, usagef("--authorization: %w", err)
		}
	}
	host, _, err := net.SplitHostPort(listen)
	if err != nil {
		return endpoint, usagef("--listen: %q must be host:port, such as %s", listen, defaultCodecListen)
	}
	if address := net.ParseIP(host); host != "localhost" && (address == nil || !address.IsLoopback()) && endpoint.Authorization == "" {
		return endpoint, usagef("--listen: %q is not of this machine alone, and whoever reaches it could read everything: give --authorization as well, or listen on %s", listen, defaultCodecListen)
	}
	for _, origin := range origins {
		if address, err := url.Parse(origin); err != nil || address.Host == "" || origin != address.Scheme+"://"+address.Host {
			return endpoint, usagef("--origin: %q is not an origin, such as http://localhost:8233: scheme, host and port, without a path", origin)
		}
	}
	if len(origins) == 0 {
		endpoint.Origins = []string{"http://localhost:8233", "http://127.0.0.1:8233"}
		if address, err := url.Parse(env.TemporalUIURL); env.TemporalUIURL != "" && err == nil {
			endpoint.Origins = []string{address.Scheme + "://" + address.Host}
		}
	}
	return endpoint, nil
}

// serveCodec answers until ctx ends.
func serveCodec(ctx context.Context, listen string, endpoint codec.Endpoint, ready func(address string)) error {
	listener, err := net.Listen("tcp", listen)
	if err != nil {
		return explainListen(fmt.Errorf("listen for the codec: %w", err), "--listen")
	}
	server := &http.Server{Handler: endpoint.Handler(), ReadHeaderTimeout: 10 * time.Second, ReadTimeout: time.Minute}
	ready(listener.Addr().String())
	ended := make(chan error, 1)
	go func() { ended <- server.Serve(listener) }()
	select {
	case err := <-ended:
		return err
	case <-ctx.Done():
	}
	closing, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
	defer cancel()
	err = server.Shutdown(closing)
	if served := <-ended; !errors.Is(served, http.ErrServerClosed) {
		return served
	}
	return err
}
