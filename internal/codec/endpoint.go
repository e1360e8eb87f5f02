package codec

import (
	"crypto/subtle"
	"fmt"
	"net/http"
	"slices"

	"go.temporal.io/sdk/converter"
)

// Endpoint is Temporal's remote codec for its UI and its command line: POST /encode and /decode, which take and give
// payloads as JSON. Pages of other origins than the given ones are refused: whoever opened them would else let them read.
type Endpoint struct {
	// Codec has the keys.
	Codec *Codec
	// Origins are those of the UIs that may ask, such as http://localhost:8233. Programs have none and may ask always.
	Origins []string
	// Authorization is what the header Authorization must be; empty asks for none.
	Authorization string
}

// maxBody bounds a request. A page of the UI asks for many payloads at once; each is 2 MB at most.
const maxBody = 64 << 20

// Handler serves the endpoint. It is safe for concurrent use.
func (e Endpoint) Handler() http.Handler {
	inner := converter.NewPayloadCodecHTTPHandler(e.Codec)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if origin := r.Header.Get("Origin"); origin != "" {
			if !slices.Contains(e.Origins, origin) {
				http.Error(w, fmt.Sprintf("pages of %s may not ask: allow them with --origin", origin), http.StatusForbidden)
				return
			}
			w.Header().Set("Access-Control-Allow-Origin", origin)
			w.Header().Set("Access-Control-Allow-Methods", "POST, OPTIONS")
			w.Header().Set("Access-Control-Allow-Headers", "Authorization, Authorization-Extras, Content-Type, X-Namespace")
			w.Header().Set("Access-Control-Allow-Credentials", "true")
			w.Header().Set("Vary", "Origin")
		}
		if r.Method == http.MethodOptions {
			w.WriteHeader(http.StatusNoContent)
			return
		}
		given := r.Header.Get("Authorization")
		if e.Authorization != "" && subtle.ConstantTimeCompare([]byte(given), []byte(e.Authorization)) == 0 {
			http.Error(w, "the header Authorization is not the one that was agreed on", http.StatusUnauthorized)
			return
		}
		r.Body = http.MaxBytesReader(w, r.Body, maxBody)
		inner.ServeHTTP(w, r)
	})
}
