/* SPDX-License-Identifier: MIT
 *
 * graph.c - ops recorded once and replayed. Contract: cuda.h.
 */
#include "kernels/cuda/cuda.h"

#include <stdlib.h>

struct device_graph {
	cudaGraphExec_t exec;
	void *scratch; /* where the scratch buffer was: its address is part of the graph */
};

int cuda_graph_begin(struct device *dev, struct err *err)
{
	struct cuda_state *state = cuda_state_of(dev);

	TRY(cuda_check(cudaStreamBeginCapture(state->stream, cudaStreamCaptureModeThreadLocal),
		"record", "cudaStreamBeginCapture", err));
	state->recording = true;
	return 0;
fail:
	return err->code;
}

int cuda_graph_end(struct device *dev, struct device_graph **out, struct err *err)
{
	struct cuda_state *state = cuda_state_of(dev);
	struct device_graph *graph = calloc(1, sizeof *graph);
	cudaGraph_t captured = NULL;
	const cudaError_t status = cudaStreamEndCapture(state->stream, &captured);

	*out = NULL;
	state->recording = false;
	if (!graph) {
		err_nomem(err, "a graph", sizeof *graph);
		goto fail;
	}
	TRY(cuda_check(status, "record", "cudaStreamEndCapture", err));
	TRY(cuda_check(cudaGraphInstantiate(&graph->exec, captured, 0), "record",
		"cudaGraphInstantiate", err));
	cudaGraphDestroy(captured);
	graph->scratch = state->scratch;
	*out = graph;
	return 0;
fail:
	if (captured)
		cudaGraphDestroy(captured);
	free(graph);
	return err->code;
}

bool cuda_graph_holds(const struct device *dev, const struct device_graph *graph)
{
	return graph->scratch == cuda_state_of(dev)->scratch;
}

int cuda_graph_replay(struct device *dev, struct device_graph *graph, struct err *err)
{
	const struct cuda_state *state = cuda_state_of(dev);

	if (!cuda_graph_holds(dev, graph))
		return err_set(err, ERR_INTERNAL,
			"replay: scratch memory moved since the graph was recorded");
	TRY(cuda_check(cudaGraphLaunch(graph->exec, state->stream), "replay", "cudaGraphLaunch",
		err));
	return cuda_launched(dev, "replay", err);
fail:
	return err->code;
}

void cuda_graph_free(struct device *dev, struct device_graph *graph)
{
	cudaStreamSynchronize(cuda_stream(dev));
	cudaGraphExecDestroy(graph->exec);
	free(graph);
}
