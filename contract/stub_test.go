package contract_test

import (
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protodesc"
	"google.golang.org/protobuf/reflect/protoregistry"
	"google.golang.org/protobuf/types/descriptorpb"
	"google.golang.org/protobuf/types/dynamicpb"

	"github.com/cleave-go/cleave/contract"
)

// A service that is not linked into this test.
const foreign = `{"name":"far.proto","package":"far.v1","syntax":"proto3","dependency":["google/protobuf/timestamp.proto","google/protobuf/duration.proto"],
	"messageType":[
		{"name":"Req","field":[{"name":"id","number":1,"type":"TYPE_STRING","label":"LABEL_OPTIONAL","jsonName":"id"}]},
		{"name":"Rep","field":[
			{"name":"at","number":1,"type":"TYPE_MESSAGE","typeName":".google.protobuf.Timestamp","label":"LABEL_OPTIONAL","jsonName":"at"},
			{"name":"inner","number":2,"type":"TYPE_MESSAGE","typeName":".far.v1.Outer.Inner","label":"LABEL_OPTIONAL","jsonName":"inner"}]},
		{"name":"Outer","nestedType":[{"name":"Inner","field":[{"name":"kind","number":1,"type":"TYPE_ENUM","typeName":".far.v1.Kind","label":"LABEL_OPTIONAL","jsonName":"kind"}]}]},
		{"name":"Unused","field":[{"name":"d","number":1,"type":"TYPE_MESSAGE","typeName":".google.protobuf.Duration","label":"LABEL_OPTIONAL","jsonName":"d"}]}],
	"enumType":[{"name":"Kind","value":[{"name":"NONE","number":0},{"name":"SOUP","number":1}]}],
	"service":[
		{"name":"Far","method":[{"name":"Get","inputType":".far.v1.Req","outputType":".far.v1.Rep"},{"name":"Other","inputType":".far.v1.Unused","outputType":".far.v1.Unused"}]},
		{"name":"Idle","method":[]}]}`

func TestAStubAnswersForServicesThatThisProgramDoesNotKnow(t *testing.T) {
	file := &descriptorpb.FileDescriptorProto{}
	if err := protojson.Unmarshal([]byte(foreign), file); err != nil {
		t.Fatal(err)
	}
	d, err := protodesc.NewFile(file, protoregistry.GlobalFiles)
	if err != nil {
		t.Fatal(err)
	}
	get := d.Services().Get(0).Methods().Get(0)
	text, err := contract.Describe(get)
	if err != nil {
		t.Fatal(err)
	}
	pact := map[string]any{
		"consumer": map[string]any{"name": "reader"}, "provider": map[string]any{"name": "far"},
		"metadata": map[string]any{"pactSpecification": map[string]any{"version": "4.0"}, "cleave": map[string]any{"descriptors": map[string]any{"/far.v1.Far/Get": text}}},
		"interactions": []any{map[string]any{"type": "Synchronous/HTTP", "description": "Get",
			"request":  map[string]any{"method": "POST", "path": "/far.v1.Far/Get", "body": map[string]any{"contentType": "application/json", "encoded": false, "content": map[string]any{"id": "1"}}},
			"response": map[string]any{"status": 200, "body": map[string]any{"contentType": "application/json", "encoded": false, "content": map[string]any{"at": "2026-01-02T03:04:05Z", "inner": map[string]any{"kind": "SOUP"}}}}}},
	}
	data, _ := json.Marshal(pact)
	name := filepath.Join(t.TempDir(), "reader-far.json")
	if err := os.WriteFile(name, data, 0o600); err != nil {
		t.Fatal(err)
	}
	h, err := contract.Stub(name)
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewServer(h)
	defer server.Close()

	req := dynamicpb.NewMessage(get.Input())
	if err := protojson.Unmarshal([]byte(`{"id":"1"}`), req); err != nil {
		t.Fatal(err)
	}
	wire, _ := proto.Marshal(req)
	rep := dynamicpb.NewMessage(get.Output())
	if err := proto.Unmarshal(post(t, server.URL+"/far.v1.Far/Get", "application/proto", wire), rep); err != nil {
		t.Fatal(err)
	}
	if got, _ := protojson.Marshal(rep); !strings.Contains(string(got), "SOUP") {
		t.Errorf("proto: %s", got)
	}
	if got := post(t, server.URL+"/far.v1.Far/Get", "application/json", []byte(`{"id":"1"}`)); !bytes.Contains(got, []byte(`"SOUP"`)) {
		t.Errorf("JSON: %s", got)
	}
}

func post(t *testing.T, url, contentType string, body []byte) []byte {
	t.Helper()
	resp, err := http.Post(url, contentType, bytes.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	data, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != http.StatusOK {
		t.Fatalf("%s: %s, %v", resp.Status, data, err)
	}
	return data
}
