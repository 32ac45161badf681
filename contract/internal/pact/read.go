package pact

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net/textproto"
	"os"
	"path/filepath"
	"strings"

	"github.com/cleave-go/cleave/contract/internal/match"
)

const (
	maxFile         = 16 << 20
	maxInteractions = 10_000
)

// Load reads a file.
func Load(path string) (*File, error) {
	data, err := readBounded(path)
	if err != nil {
		return nil, err
	}
	f, err := Parse(data)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	f.Name = filepath.Base(path)
	return f, nil
}

func readBounded(path string) ([]byte, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if info.Size() > maxFile {
		return nil, fmt.Errorf("%s has %d bytes, a Pact file has at most %d", path, info.Size(), maxFile)
	}
	return os.ReadFile(path)
}

// Parse reads a file's contents.
func Parse(data []byte) (*File, error) {
	v, err := match.Decode([]byte(strings.TrimPrefix(string(data), "\ufeff")))
	if err != nil {
		return nil, err
	}
	m, ok := v.(map[string]any)
	if !ok {
		return nil, errors.New("a Pact file is a JSON object")
	}
	f := &File{Metadata: object(m["metadata"])}
	f.Consumer, f.Provider = str(object(m["consumer"])["name"]), str(object(m["provider"])["name"])
	if f.Consumer == "" || f.Provider == "" {
		return nil, errors.New("it names no consumer or no provider: it is no Pact file")
	}
	if f.Version, err = version(f.Metadata); err != nil {
		return nil, err
	}
	list := append(array(m["interactions"]), array(m["messages"])...)
	if len(list) > maxInteractions {
		return nil, fmt.Errorf("it has %d interactions, at most %d are read", len(list), maxInteractions)
	}
	for i, x := range list {
		in, err := ReadInteraction(object(x), f.Version)
		if err != nil {
			return nil, fmt.Errorf("interaction %d, %q: %w", i+1, in.Description, err)
		}
		if in.Type == HTTP {
			in.Descriptors = str(descriptors(f.Metadata)[in.Request.Path])
		}
		f.Interactions = append(f.Interactions, in)
	}
	return f, nil
}

// descriptors returns the part of a file's metadata that has the descriptors of
// protobuf calls by procedure. Other tools keep and ignore it.
func descriptors(metadata map[string]any) map[string]any {
	return object(object(metadata["cleave"])["descriptors"])
}

func version(metadata map[string]any) (int, error) {
	for _, key := range []string{"pactSpecification", "pact-specification"} {
		if text := str(object(metadata[key])["version"]); text != "" {
			if text[0] < '1' || text[0] > '4' {
				return 0, fmt.Errorf("it is of version %s of the specification, 1 to 4 are read", text)
			}
			return int(text[0] - '0'), nil
		}
	}
	if text := str(metadata["pactSpecificationVersion"]); text != "" && text[0] >= '1' && text[0] <= '4' {
		return int(text[0] - '0'), nil
	}
	return 2, nil
}

// ReadInteraction reads one interaction of a file of a version.
func ReadInteraction(m map[string]any, version int) (Interaction, error) {
	in := Interaction{Type: str(m["type"]), Description: str(m["description"]), States: states(m),
		Test: str(object(m["comments"])["testname"]), Pending: m["pending"] == true}
	if in.Type == "" {
		in.Type = HTTP
		if m["request"] == nil && (m["contents"] != nil || m["metaData"] != nil) {
			in.Type = Event
		}
	}
	var err error
	switch in.Type {
	case HTTP:
		if in.Request, err = ReadRequest(object(m["request"]), version); err != nil {
			return in, fmt.Errorf("request: %w", err)
		}
		if in.Response, err = ReadResponse(object(m["response"]), version); err != nil {
			return in, fmt.Errorf("response: %w", err)
		}
	case Event:
		in.Message, err = ReadMessage(m, version)
	case Command:
		if in.Message, err = ReadMessage(object(m["request"]), version); err != nil {
			return in, fmt.Errorf("request: %w", err)
		}
		for _, x := range array(m["response"]) {
			reply, err := ReadMessage(object(x), version)
			if err != nil {
				return in, fmt.Errorf("response: %w", err)
			}
			in.Replies = append(in.Replies, *reply)
		}
	default:
		err = fmt.Errorf("the type %q is not known", in.Type)
	}
	return in, err
}

func states(m map[string]any) []State {
	var list []State
	for _, key := range []string{"providerState", "provider_state"} {
		if name := str(m[key]); name != "" {
			list = append(list, State{Name: name})
		}
	}
	for _, x := range array(m["providerStates"]) {
		s := object(x)
		list = append(list, State{Name: str(s["name"]), Params: object(s["params"])})
	}
	return list
}

// ReadRequest reads a request.
func ReadRequest(m map[string]any, version int) (*Request, error) {
	r := &Request{Method: str(m["method"]), Path: str(m["path"]), Headers: values(m["headers"])}
	switch q := m["query"].(type) {
	case string:
		r.Query = match.ParseQuery(q)
	case map[string]any:
		r.Query = values(q)
	}
	var err error
	if r.Rules, err = match.ParseRules(m["matchingRules"]); err != nil {
		return nil, err
	}
	r.Body, err = readBody(m, "body", contentType(r.Headers), version)
	return r, err
}

// ReadResponse reads a response.
func ReadResponse(m map[string]any, version int) (*Response, error) {
	r := &Response{Headers: values(m["headers"])}
	if n, ok := m["status"].(json.Number); ok {
		code, err := n.Int64()
		if err != nil || code < 100 || code > 999 {
			return nil, fmt.Errorf("%s is no status code", n)
		}
		r.Status = int(code)
	}
	var err error
	if r.Rules, err = match.ParseRules(m["matchingRules"]); err != nil {
		return nil, err
	}
	r.Body, err = readBody(m, "body", contentType(r.Headers), version)
	return r, err
}

// ReadMessage reads a message.
func ReadMessage(m map[string]any, version int) (*Message, error) {
	msg := &Message{Metadata: object(m["metadata"])}
	if msg.Metadata == nil {
		msg.Metadata = object(m["metaData"])
	}
	var err error
	if msg.Rules, err = match.ParseRules(m["matchingRules"]); err != nil {
		return nil, err
	}
	msg.Body, err = readBody(m, "contents", str(msg.Metadata["contentType"]), version)
	return msg, err
}

// readBody reads m[key]: since version 4 an object with content, contentType
// and encoded, before that the content itself.
func readBody(m map[string]any, key, contentType string, version int) (Body, error) {
	v, ok := m[key]
	if !ok {
		return Body{Type: contentType}, nil
	}
	if wrapped, isObject := v.(map[string]any); isObject && version >= 4 {
		if t := str(wrapped["contentType"]); t != "" {
			contentType = t
		}
		if v, ok = wrapped["content"]; !ok {
			return Body{Type: contentType}, nil
		}
		if encoding := wrapped["encoded"]; encoding == true || encoding == "base64" {
			data, err := base64.StdEncoding.DecodeString(str(v))
			if err != nil {
				return Body{}, fmt.Errorf("the encoded %s: %w", key, err)
			}
			return NewBody(contentType, data), nil
		}
	}
	switch text, isText := v.(string); {
	case v == nil, v == "":
		return Body{Kind: Empty, Type: contentType}, nil
	case isText && (contentType == "" || !match.IsJSON(contentType)):
		return Body{Kind: Raw, Type: contentType, Bytes: []byte(text)}, nil
	case isText && version < 4:
		if x, err := match.Decode([]byte(text)); err == nil { // a document as text
			return Body{Kind: JSON, Type: contentType, Value: x}, nil
		}
	}
	return Body{Kind: JSON, Type: contentType, Value: v}, nil
}

func contentType(headers map[string][]string) string {
	for name, v := range headers {
		if textproto.CanonicalMIMEHeaderKey(name) == "Content-Type" && len(v) > 0 {
			return v[0]
		}
	}
	return ""
}

// values reads name to value, or name to list of values.
func values(v any) map[string][]string {
	out := map[string][]string{}
	for name, x := range object(v) {
		switch x := x.(type) {
		case []any:
			for _, y := range x {
				out[name] = append(out[name], scalar(y))
			}
		default:
			out[name] = []string{scalar(x)}
		}
	}
	return out
}

func scalar(v any) string {
	if s, ok := v.(string); ok {
		return s
	}
	return fmt.Sprint(v)
}

func object(v any) map[string]any { m, _ := v.(map[string]any); return m }
func array(v any) []any           { l, _ := v.([]any); return l }
func str(v any) string            { s, _ := v.(string); return s }
