package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"github.com/Shopify/toxiproxy/v2"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/rs/zerolog"
)

// Toxiproxy stands in front of the other parts, for tests that cut lines or slow them down. It is linked into devstack
// and served by a process of this same program.
type Toxiproxy struct {
	Behind []Part // whom it stands in front of
}

const toxiproxyPort = "toxiproxy"

// proxyPort is the port in front of another. The proxy itself is called as the other is, in Toxiproxy's API too.
func proxyPort(port string) string { return port + "-proxy" }

// Name implements Part.
func (Toxiproxy) Name() string { return "toxiproxy" }

// Ports implements Part: one for its API, and one in front of each port of the others.
func (p Toxiproxy) Ports() []Port {
	ports := []Port{{Name: toxiproxyPort, Default: 8474, Scheme: "http"}}
	for _, part := range p.Behind {
		for _, port := range part.Ports() {
			ports = append(ports, Port{Name: proxyPort(port.Name), Default: port.Default + 20_000, Scheme: port.Scheme})
		}
	}
	return ports
}

// Tools implements Part: none.
func (Toxiproxy) Tools() []Tool { return nil }

// Command implements Part.
func (p Toxiproxy) Command(site Site) (Command, error) {
	self, err := ownProgram()
	if err != nil {
		return Command{}, err
	}
	args := []string{serveToxiproxy, site.Addr(toxiproxyPort)}
	for _, part := range p.Behind {
		for _, port := range part.Ports() {
			args = append(args, strings.Join([]string{port.Name, site.Addr(proxyPort(port.Name)), site.Addr(port.Name)}, "="))
		}
	}
	return Command{Program: self, Args: args}, nil
}

// Ready implements Part: the API answers, which it does when all proxies listen.
func (Toxiproxy) Ready(ctx context.Context, site Site) error {
	return get(ctx, "http://"+site.Addr(toxiproxyPort)+"/version")
}

// Variables implements Part. The product knows no proxies, so the name is devstack's.
func (Toxiproxy) Variables(site Site) []Variable {
	return []Variable{{"DEVSTACK_TOXIPROXY_URL", "http://" + site.Addr(toxiproxyPort)}}
}

// serveToxiproxy is the hidden sub-command whose process is Toxiproxy.
const serveToxiproxy = "serve-toxiproxy"

// runServeToxiproxy serves until SIGTERM or SIGINT: the API's address, and then NAME=LISTEN=UPSTREAM for each proxy.
func runServeToxiproxy(args []string) error {
	if len(args) == 0 {
		return errors.New("want an address for the API, and proxies")
	}
	stop := make(chan os.Signal, 1)
	signal.Notify(stop, syscall.SIGTERM, syscall.SIGINT)
	log := zerolog.New(os.Stderr).Level(zerolog.WarnLevel)
	server := toxiproxy.NewServer(toxiproxy.NewMetricsContainer(prometheus.NewRegistry()), log)
	for _, arg := range args[1:] {
		fields := strings.Split(arg, "=")
		if len(fields) != 3 {
			return fmt.Errorf("want NAME=LISTEN=UPSTREAM, got %q", arg)
		}
		if err := server.Collection.Add(toxiproxy.NewProxy(server, fields[0], fields[1], fields[2]), true); err != nil {
			return fmt.Errorf("listen in front of %s: %w", fields[0], err)
		}
	}
	failed := make(chan error, 1)
	go func() { failed <- server.Listen(args[0]) }()
	select {
	case err := <-failed:
		return err
	case <-stop:
		return server.Shutdown()
	}
}
