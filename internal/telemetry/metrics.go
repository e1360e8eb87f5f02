package telemetry

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// NewRegistry makes a registry of a process's own, with what is worth knowing of every Go process and one gauge,
// millrace_build_info, that is 1 and says by its labels which build this is.
func NewRegistry(build Build) *prometheus.Registry {
	registry := prometheus.NewRegistry()
	info := prometheus.NewGauge(prometheus.GaugeOpts{
		Name:        "millrace_build_info",
		Help:        "Always 1; the labels say which build of Millrace this process is.",
		ConstLabels: prometheus.Labels{"version": build.Version, "revision": build.Revision, "go": build.Go},
	})
	info.Set(1)
	registry.MustRegister(info, collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return registry
}

// MetricsServer serves /metrics for Prometheus until it is closed.
type MetricsServer struct {
	server *http.Server
	listen net.Listener
	ended  chan struct{}
	failed error // of serving; readable once ended is closed
}

// metricsTimeout bounds the reading of a request's header and the closing of the server. A scrape takes milliseconds.
const metricsTimeout = 5 * time.Second

// ServeMetrics listens at host:port and serves from then on, in the background. An address that is taken is an error
// here and now.
func ServeMetrics(address string, registry *prometheus.Registry) (*MetricsServer, error) {
	listen, err := net.Listen("tcp", address)
	if err != nil {
		return nil, fmt.Errorf("listen for metrics at %s: %w", address, err)
	}
	routes := http.NewServeMux()
	routes.Handle("GET /metrics", promhttp.HandlerFor(registry, promhttp.HandlerOpts{}))
	m := &MetricsServer{server: &http.Server{Handler: routes, ReadHeaderTimeout: metricsTimeout}, listen: listen, ended: make(chan struct{})}
	go func() {
		defer close(m.ended)
		if err := m.server.Serve(listen); !errors.Is(err, http.ErrServerClosed) {
			m.failed = fmt.Errorf("serve metrics at %s: %w", address, err)
		}
	}()
	return m, nil
}

// Address is where it listens, with the port that was chosen when 0 was asked for.
func (m *MetricsServer) Address() string { return m.listen.Addr().String() }

// Close ends the server after the scrapes that are under way, and says if it broke down before. It may be called
// twice.
func (m *MetricsServer) Close() error {
	ctx, cancel := context.WithTimeout(context.Background(), metricsTimeout)
	defer cancel()
	err := m.server.Shutdown(ctx)
	<-m.ended
	return errors.Join(m.failed, err)
}
