package telemetry

// Requests observes what was answered: it counts it and writes its line. nil
// does neither.
type Requests struct {
	Metrics *Metrics
	Log     *RequestLog
}

// Done observes an answered request.
func (o *Requests) Done(r *Request) {
	if o == nil {
		return
	}
	o.Metrics.request(r)
	o.Log.write(r)
}

// Panicked observes that a handler has panicked.
func (o *Requests) Panicked() {
	if o != nil {
		o.Metrics.Panicked()
	}
}
