package pact

import (
	"cmp"
	"encoding/base64"
	"fmt"
	"maps"
	"slices"

	"github.com/cleave-go/cleave/contract/internal/match"
)

// json writes the interaction as version 4 files hold it.
func (in *Interaction) json() map[string]any {
	m := map[string]any{"type": in.Type, "description": in.Description, "pending": in.Pending}
	if in.Test != "" {
		m["comments"] = map[string]any{"testname": in.Test}
	}
	if len(in.States) > 0 {
		list := []any{}
		for _, s := range in.States {
			state := map[string]any{"name": s.Name}
			if len(s.Params) > 0 {
				state["params"] = s.Params
			}
			list = append(list, state)
		}
		m["providerStates"] = list
	}
	switch in.Type {
	case HTTP:
		m["request"], m["response"] = in.Request.json(), in.Response.json()
	case Event:
		maps.Copy(m, in.Message.json())
	case Command:
		replies := []any{}
		for i := range in.Replies {
			replies = append(replies, in.Replies[i].json())
		}
		m["request"], m["response"] = in.Message.json(), replies
	}
	return m
}

func (r *Request) json() map[string]any {
	m := map[string]any{"method": r.Method, "path": r.Path}
	if len(r.Query) > 0 {
		m["query"] = lists(r.Query)
	}
	common(m, r.Headers, r.Body, r.Rules)
	return m
}

func (r *Response) json() map[string]any {
	m := map[string]any{"status": r.Status}
	common(m, r.Headers, r.Body, r.Rules)
	return m
}

func common(m map[string]any, headers map[string][]string, body Body, rules match.Rules) {
	if len(headers) > 0 {
		m["headers"] = lists(headers)
	}
	if body.Kind != Missing {
		m["body"] = body.json()
	}
	if j := rules.JSON(); len(j) > 0 {
		m["matchingRules"] = j
	}
}

func (msg *Message) json() map[string]any {
	m := map[string]any{}
	if msg.Body.Kind != Missing {
		m["contents"] = msg.Body.json()
	}
	if len(msg.Metadata) > 0 {
		m["metadata"] = msg.Metadata
	}
	if j := msg.Rules.JSON(); len(j) > 0 {
		m["matchingRules"] = j
	}
	return m
}

func (b Body) json() map[string]any {
	m := map[string]any{"encoded": false}
	if b.Type != "" {
		m["contentType"] = b.Type
	}
	switch b.Kind {
	case Empty:
		m["content"] = ""
	case JSON:
		m["content"] = b.Value
	case Raw:
		m["content"], m["encoded"] = base64.StdEncoding.EncodeToString(b.Bytes), "base64"
	}
	return m
}

func lists(m map[string][]string) map[string]any {
	out := map[string]any{}
	for k, v := range m {
		list := []any{}
		for _, s := range v {
			list = append(list, s)
		}
		out[k] = list
	}
	return out
}

// key identifies an interaction in a file: its type, its description and its
// states.
func key(m map[string]any) string {
	s, _ := match.Encode(m["providerStates"], "")
	return fmt.Sprintf("%s\x00%s\x00%s", str(m["description"]), str(m["type"]), s)
}

func named(name string) map[string]any { return map[string]any{"name": name} }

// encodeFile sorts the interactions and writes what makes a file version 4.
func encodeFile(m map[string]any) ([]byte, error) {
	list := array(m["interactions"])
	slices.SortStableFunc(list, func(a, b any) int { return cmp.Compare(key(object(a)), key(object(b))) })
	metadata := maps.Clone(object(m["metadata"]))
	if metadata == nil {
		metadata = map[string]any{}
	}
	metadata["pactSpecification"] = map[string]any{"version": "4.0"}
	m["metadata"] = metadata
	data, err := match.Encode(m, "  ")
	return append(data, '\n'), err
}
