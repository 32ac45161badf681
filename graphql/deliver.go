package graphql

import (
	"reflect"
	"strconv"

	"github.com/cleave-go/cleave/compose"
)

// deliver hands a job's results to the fields that wait for them.
func (e *exec) deliver(j *job) {
	switch {
	case j.def.resolver != nil:
		e.deliverResolved(j)
	case j.keys != nil:
		e.deliverBatch(j)
	default:
		e.deliverSingle(j)
	}
}

// failed turns a part's failure into the error of the fields that waited for it.
func (e *exec) failed(j *job, f *compose.Failure) *Error {
	err := toError(f.Err)
	err.Service, err.Elapsed = f.Service, f.Elapsed
	if r := j.def.rpc; r != nil && err.Field != "" {
		err.Field = r.argField(err.Field)
	}
	e.log(err, f)
	return err
}

func (e *exec) deliverResolved(j *job) {
	if j.failure != nil {
		err := e.failed(j, j.failure)
		for _, m := range j.members {
			e.miss(m.inst, m.f, err)
		}
		return
	}
	for i, m := range j.members {
		if err, ok := j.results[i].(error); ok && !isNilPointer(err) {
			own := toError(err)
			e.log(own, &compose.Failure{Part: j.def.String(), Err: err})
			e.miss(m.inst, m.f, own)
			continue
		}
		e.settle(m.inst, m.f, fromGo(j.results[i]), nil)
	}
}

func isNilPointer(x any) bool {
	r := reflect.ValueOf(x)
	return r.Kind() == reflect.Pointer && r.IsNil()
}

func (e *exec) deliverSingle(j *job) {
	c := j.chunks[0]
	if c.failure != nil {
		err := e.failed(j, c.failure)
		for _, m := range j.members {
			e.miss(m.inst, m.f, err)
		}
		return
	}
	for _, m := range j.members {
		e.settle(m.inst, m.f, protoField(m.f.def.rpc.result, c.resp), nil)
	}
}

// deliverBatch gives each parent what carries its key. A key nobody carries is
// null; the keys of a chunk that failed are missing.
func (e *exec) deliverBatch(j *job) {
	r := j.def.rpc
	found := make(map[string][]protoMessage, len(j.keys))
	errs := make([]*Error, len(j.chunks))
	for i, c := range j.chunks {
		if c.failure != nil {
			errs[i] = e.failed(j, c.failure)
			continue
		}
		collect(found, c.resp, r)
	}
	for _, m := range j.members {
		if err := errs[j.keys[m.key]/r.max]; err != nil {
			e.miss(m.inst, m.f, err)
			continue
		}
		messages := found[m.key]
		switch {
		case m.f.def.out.elem != nil:
			e.settle(m.inst, m.f, value{kind: isMessages, messages: messages}, nil)
		case len(messages) == 0:
			e.settle(m.inst, m.f, value{}, nil)
		default:
			e.settle(m.inst, m.f, messageOf(messages[0]), nil)
		}
	}
}

// collect sorts a batch response's items by key.
func collect(found map[string][]protoMessage, resp protoMessage, r *rpcDef) {
	items := accessor{path: r.items}
	key := accessor{path: r.key}
	v, ok := items.get(resp)
	if !ok {
		return
	}
	list := v.List()
	// One array for the common case of one item per key.
	single := make([]protoMessage, list.Len())
	for i := range list.Len() {
		m := list.Get(i).Message()
		text, ok := keyText(protoField(&key, m))
		if !ok {
			continue
		}
		if before := found[text]; before != nil {
			found[text] = append(before, m)
			continue
		}
		single[i] = m
		found[text] = single[i : i+1 : i+1]
	}
}

// keyText makes keys of one kind comparable; ok is false for an empty one.
func keyText(v value) (string, bool) {
	switch v.kind {
	case isProto:
		text := v.proto.String() // of a number: never empty
		return text, text != ""
	case isGo:
		switch x := normal(v.goValue).(type) {
		case string:
			return x, x != ""
		case int64:
			return strconv.FormatInt(x, 10), true
		}
	}
	return "", false
}

// normal reduces Go's many scalar types to those that coercion produces.
func normal(x any) any {
	r := reflect.ValueOf(x)
	switch {
	case r.Kind() == reflect.String:
		return r.String()
	case r.CanInt():
		return r.Int()
	case r.CanUint():
		return int64(r.Uint())
	case r.CanFloat():
		return r.Float()
	case r.Kind() == reflect.Bool:
		return r.Bool()
	}
	return x
}
