package graphql

import (
	"context"
	"strconv"
	"strings"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/cleave-go/cleave/compose"
)

type protoMessage = protoreflect.Message

// job is one call of a wave, a batch call cut into chunks, or one resolver.
type job struct {
	def     *fieldDef
	whole   bool          // somebody without @optional waits: it may use all the time left
	timeout time.Duration // the longest of those who wait
	members []member
	chunks  []*chunk
	keys    map[string]int // of a batch: position among all keys
	parents []Parent       // of a resolver
	results []any
	failure *compose.Failure // of a resolver
}

// member is a field of an instance that waits for a job.
type member struct {
	f    *field
	inst *instance
	key  string
}

// chunk is one RPC.
type chunk struct {
	req, resp protoMessage
	failure   *compose.Failure
}

func (j *job) wait(f *field) {
	if f.def.optional == nil {
		j.whole = true
	} else {
		j.timeout = max(j.timeout, f.def.optional.timeout)
	}
}

// runWave makes the calls of a wave side by side and hands out their results.
func (e *exec) runWave(w wave) {
	var jobs []*job
	shared := map[string]*job{}
	for _, f := range w.fields {
		parents := w.parents[f]
		switch {
		case f.def.resolver != nil:
			jobs = append(jobs, e.resolverJob(f, parents))
		case f.def.rpc.batch != nil:
			jobs = e.batchJob(f, parents, shared, jobs)
		default:
			jobs = e.singleJobs(f, parents, shared, jobs)
		}
	}
	e.call(jobs)
	for _, j := range jobs {
		e.deliver(j)
	}
}

// call runs the jobs under compose and notes who failed.
func (e *exec) call(jobs []*job) {
	var parts []compose.Part
	var failed []**compose.Failure
	add := func(j *job, slot **compose.Failure, do func(context.Context) error) {
		p := compose.Part{Name: j.def.String() + "#" + strconv.Itoa(len(parts)), Optional: true, Timeout: j.timeout, Do: do}
		if j.whole {
			p.Timeout = -1
		}
		if j.def.rpc != nil {
			p.Service = j.def.rpc.service
		}
		parts = append(parts, p)
		failed = append(failed, slot)
	}
	for _, j := range jobs {
		if j.def.resolver != nil {
			add(j, &j.failure, j.resolve)
			continue
		}
		for _, c := range j.chunks {
			e.calls++
			add(j, &c.failure, func(ctx context.Context) error { return e.rpc(ctx, j.def.rpc, c) })
		}
	}
	if len(parts) == 0 {
		return
	}
	failures, _ := compose.Run(e.ctx, &composeOptions, parts...)
	next := 0
	for _, f := range failures { // in the order of parts
		for parts[next].Name != f.Part {
			next++
		}
		*failed[next] = f
	}
}

var composeOptions = compose.Options{Classify: func(err error) (string, bool) {
	code, retryable := codeOf(err)
	return string(code), retryable
}}

func (e *exec) rpc(ctx context.Context, r *rpcDef, c *chunk) error {
	c.resp = r.out.New()
	return r.client.CallUnary(ctx, r.spec, c.req.Interface(), c.resp.Interface())
}

func (j *job) resolve(ctx context.Context) (err error) {
	j.results, err = j.def.resolver.Resolve(ctx, j.parents)
	if err == nil && len(j.results) != len(j.parents) {
		return Errorf(Internal, "the resolver of %s answered %d values for %d parents", j.def, len(j.results), len(j.parents))
	}
	return err
}

func (e *exec) resolverJob(f *field, parents []*instance) *job {
	j := &job{def: f.def, parents: make([]Parent, len(parents)), members: make([]member, len(parents))}
	j.wait(f)
	for i, inst := range parents {
		j.parents[i] = Parent{inst: inst, args: e.args[f.id], e: e, f: f}
		j.members[i] = member{f: f, inst: inst}
	}
	return j
}

// batchJob adds the parents' keys to the wave's one call of this method.
func (e *exec) batchJob(f *field, parents []*instance, shared map[string]*job, jobs []*job) []*job {
	r := f.def.rpc
	base := r.in.New()
	if err := e.fill(base, r, f, nil); err != nil {
		for _, inst := range parents {
			e.miss(inst, f, err)
		}
		return jobs
	}
	id := r.group + "\x00" + marshal(base)
	j := shared[id]
	if j == nil {
		j = &job{def: f.def, keys: map[string]int{}}
		shared[id] = j
		jobs = append(jobs, j)
	}
	j.wait(f)
	for _, inst := range parents {
		v, err := e.parentValue(inst, r, r.batch)
		if err != nil {
			e.miss(inst, f, toError(err))
			continue
		}
		key, ok := keyText(v)
		if !ok {
			continue // nothing to join: null
		}
		if err := j.addKey(base, key, v); err != nil {
			e.miss(inst, f, err)
			continue
		}
		j.members = append(j.members, member{f, inst, key})
	}
	return jobs
}

// addKey puts a key not seen before into the last chunk, or a new one.
func (j *job) addKey(base protoMessage, key string, v value) *Error {
	if _, known := j.keys[key]; known {
		return nil
	}
	r := j.def.rpc
	pv, err := v.proto, (*Error)(nil)
	if v.kind == isGo {
		if pv, err = protoValue(r.batch.fd(), nil, normal(v.goValue)); err != nil {
			return err
		}
	}
	if len(j.keys)%r.max == 0 {
		j.chunks = append(j.chunks, &chunk{req: proto.Clone(base.Interface()).ProtoReflect()})
	}
	req := j.chunks[len(j.chunks)-1].req
	for _, fd := range r.batch.target[:len(r.batch.target)-1] {
		req = req.Mutable(fd).Message()
	}
	req.Mutable(r.batch.fd()).List().Append(pv)
	j.keys[key] = len(j.keys)
	return nil
}

// singleJobs makes one call per distinct request. Calls that change something are never shared.
func (e *exec) singleJobs(f *field, parents []*instance, shared map[string]*job, jobs []*job) []*job {
	r := f.def.rpc
	made := 0
	for _, inst := range parents {
		req := r.in.New()
		if err := e.fill(req, r, f, inst); err != nil {
			e.miss(inst, f, err)
			continue
		}
		var j *job
		id := ""
		if r.pure {
			id = r.spec.Procedure + "\x00" + marshal(req)
			j = shared[id]
		}
		if j == nil {
			if made++; r.bounded && made > r.max {
				e.miss(inst, f, Errorf(BadUserInput, "%s is asked of more than %d objects at once", f.def, r.max))
				continue
			}
			j = &job{def: f.def, chunks: []*chunk{{req: req}}}
			jobs = append(jobs, j)
			if r.pure {
				shared[id] = j
			}
		}
		j.wait(f)
		j.members = append(j.members, member{f: f, inst: inst})
	}
	return jobs
}

// marshal gives equal requests of one kind equal texts.
func marshal(m protoMessage) string {
	b, err := proto.MarshalOptions{Deterministic: true}.Marshal(m.Interface())
	if err != nil {
		return ""
	}
	return string(b)
}

// fill puts arguments, constants and the parent's values into a request.
func (e *exec) fill(req protoMessage, r *rpcDef, f *field, inst *instance) *Error {
	for _, in := range r.inputs {
		switch in.from {
		case fromConstant:
			if err := setInput(req, in, in.value); err != nil {
				return err
			}
		case fromArgs:
			if err := setInput(req, in, lookup(e.args[f.id], in.path)); err != nil {
				err.Field = strings.Join(in.path, ".") + err.Field
				return err
			}
		case fromParent:
			v, err := e.parentValue(inst, r, in)
			if err != nil {
				return toError(err)
			}
			if err := setParent(req, in, v); err != nil {
				return err
			}
		}
	}
	return nil
}

func lookup(args map[string]any, path []string) any {
	for _, name := range path[:len(path)-1] {
		args, _ = args[name].(map[string]any)
	}
	return args[path[len(path)-1]]
}

func setParent(req protoMessage, in *input, v value) *Error {
	switch v.kind {
	case isNull:
		return nil
	case isGo:
		return setInput(req, in, normal(v.goValue))
	}
	for _, fd := range in.target[:len(in.target)-1] {
		req = req.Mutable(fd).Message()
	}
	req.Set(in.fd(), v.proto)
	return nil
}

// parentValue reads what in needs from the parent.
func (e *exec) parentValue(inst *instance, r *rpcDef, in *input) (value, error) {
	if inst.obj.msg == nil {
		return goField(inst.obj.goValue, in.path, nil)
	}
	k := e.binding(inst.sel, inst.obj.msg).keys[r.field.index]
	if k.err != nil {
		return value{}, k.err
	}
	for i, other := range r.inputs {
		if other == in {
			return protoField(k.inputs[i], inst.obj.msg), nil
		}
	}
	return value{}, nil
}
