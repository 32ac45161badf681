package kit

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	tracepb "go.opentelemetry.io/proto/otlp/trace/v1"
	"google.golang.org/protobuf/proto"
)

// otlp sends spans to a collector over HTTP with protobuf bodies, as the OTLP
// specification 1.9 has it. The SDK's own HTTP client would link all of gRPC
// into every service.
type otlp struct {
	url    string
	header http.Header
	client *http.Client
	once   time.Duration // limit of one export with its retries
}

const maxCollectorReply = 64 << 10

// newOTLP reads the variables of the specification; a name with TRACES wins
// over the one without. It answers nil when no endpoint is named.
func newOTLP(environ []string) (*otlp, error) {
	get := func(name string) (string, string) {
		if v := lookup(environ, "OTEL_EXPORTER_OTLP_TRACES_"+name); v != "" {
			return "OTEL_EXPORTER_OTLP_TRACES_" + name, v
		}
		return "OTEL_EXPORTER_OTLP_" + name, lookup(environ, "OTEL_EXPORTER_OTLP_"+name)
	}
	variable, endpoint := get("ENDPOINT")
	if endpoint == "" {
		return nil, nil
	}
	u, err := url.Parse(endpoint)
	if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
		return nil, fmt.Errorf("%s is %q; it must be the URL of a collector such as http://localhost:4318", variable, endpoint)
	}
	if variable == "OTEL_EXPORTER_OTLP_ENDPOINT" {
		u = u.JoinPath("v1/traces")
	}
	if name, p := get("PROTOCOL"); p != "" && p != "http/protobuf" {
		return nil, fmt.Errorf("%s is %q; spans are sent as http/protobuf only", name, p)
	}
	o := &otlp{url: u.String(), header: http.Header{"Content-Type": {"application/x-protobuf"}}, client: &http.Client{}, once: 10 * time.Second}
	if name, t := get("TIMEOUT"); t != "" {
		ms, err := strconv.Atoi(t)
		if err != nil || ms < 1 {
			return nil, fmt.Errorf("%s is %q; it must be a number of milliseconds, 1 or more", name, t)
		}
		o.once = time.Duration(ms) * time.Millisecond
	}
	name, headers := get("HEADERS")
	for pair := range strings.SplitSeq(headers, ",") {
		if strings.TrimSpace(pair) == "" {
			continue
		}
		key, value, ok := strings.Cut(pair, "=")
		decoded, err := url.PathUnescape(strings.TrimSpace(value))
		if !ok || err != nil {
			return nil, fmt.Errorf("%s must be key=value pairs with commas between them, values percent-encoded", name)
		}
		o.header.Set(strings.TrimSpace(key), decoded)
	}
	return o, nil
}

func (o *otlp) Start(context.Context) error { return nil }

func (o *otlp) Stop(context.Context) error {
	o.client.CloseIdleConnections()
	return nil
}

// UploadTraces sends one request and repeats it while the collector says that
// it may be repeated.
func (o *otlp) UploadTraces(ctx context.Context, spans []*tracepb.ResourceSpans) error {
	// TracesData and ExportTraceServiceRequest are the same bytes.
	body, err := proto.Marshal(&tracepb.TracesData{ResourceSpans: spans})
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, o.once)
	defer cancel()
	for wait := time.Second; ; wait *= 2 {
		again, after, err := o.send(ctx, body)
		if err == nil || !again {
			return err
		}
		timer := time.NewTimer(max(wait, after))
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return err
		}
	}
}

func (o *otlp) send(ctx context.Context, body []byte) (again bool, after time.Duration, err error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, o.url, bytes.NewReader(body))
	if err != nil {
		return false, 0, err
	}
	req.Header = o.header.Clone()
	res, err := o.client.Do(req)
	if err != nil {
		return true, 0, err
	}
	defer res.Body.Close()
	_, _ = io.Copy(io.Discard, io.LimitReader(res.Body, maxCollectorReply))
	if res.StatusCode/100 == 2 {
		return false, 0, nil
	}
	seconds, _ := strconv.Atoi(res.Header.Get("Retry-After"))
	switch res.StatusCode {
	case http.StatusTooManyRequests, http.StatusBadGateway, http.StatusServiceUnavailable, http.StatusGatewayTimeout:
		again = true
	}
	return again, time.Duration(max(seconds, 0)) * time.Second, fmt.Errorf("collector answered %s", res.Status)
}
