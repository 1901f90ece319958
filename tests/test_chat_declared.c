/* SPDX-License-Identifier: MIT
 *
 * test_chat_declared.c - templates that a checkpoint declares: which file is taken, and what the
 * model reads of one turn, of conversations, of a reply begun.
 */
#include "host/base/file.h"
#include "host/text/chat_template.h"
#include "tests/test.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

/* ChatML, a system text in its place. */
static const char CHATML[] =
	"{% for message in messages %}{{ '<|im_start|>' + message['role'] + '\\n' + "
	"message['content'] + '<|im_end|>' + '\\n' }}{% endfor %}"
	"{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}";

/* As Gemma 2's: no system text, contents stripped, the assistant called model. */
static const char GEMMA2[] =
	"{{ bos_token }}{% if messages[0]['role'] == 'system' %}"
	"{{ raise_exception('System role not supported') }}{% endif %}"
	"{% for message in messages %}{% if message['role'] == 'assistant' %}"
	"{% set role = 'model' %}{% else %}{% set role = message['role'] %}{% endif %}"
	"{{ '<start_of_turn>' + role + '\\n' + message['content'] | trim + '<end_of_turn>\\n' }}"
	"{% endfor %}{% if add_generation_prompt %}{{ '<start_of_turn>model\\n' }}{% endif %}";

static struct err err;

static void put(const char *name, const char *text)
{
	REQUIRE_OK(file_write_text(in_scratch(name), text, &err), &err);
}

static void remove_all(void)
{
	static const char *const names[] = {"chat_template.jinja", "tokenizer_config.json",
		"chat_template.json", "additional_chat_templates/rag.jinja", "own.jinja"};

	for (size_t i = 0; i < sizeof names / sizeof *names; i++)
		remove(in_scratch(names[i]));
}

/* {"bos_token": "<bos>", "chat_template": TEMPLATE} */
static void put_config(const char *template)
{
	json_t *config = json_pack("{s:s, s:s}", "bos_token", "<bos>", "chat_template", template);
	char *text = json_dumps(config, 0);

	put("tokenizer_config.json", text);
	free(text);
	json_decref(config);
}

static const char TOKENIZER[] =
	"{\"added_tokens\":[{\"id\":0,\"content\":\"<bos>\",\"special\":true,\"normalized\":false},"
	"{\"id\":1,\"content\":\"<start_of_turn>\",\"special\":true,\"normalized\":false}],"
	"\"post_processor\":{\"type\":\"TemplateProcessing\",\"single\":[{\"SpecialToken\":{\"id\":"
	"\"<bos>\"}},{\"Sequence\":{\"id\":\"A\"}}],\"special_tokens\":{\"<bos>\":{\"ids\":[0]}}},"
	"\"decoder\":{\"type\":\"ByteLevel\"},\"pre_tokenizer\":{\"type\":\"ByteLevel\",\"use_regex"
	"\":false},\"model\":{\"vocab\":{\"<bos>\":0,\"<start_of_turn>\":1,\"x\":2,\"y\":3,\"\\u010a\":4},\"merges\":[]}}";

static struct tokenizer *open_tokenizer(void)
{
	struct tokenizer *tok = NULL;

	put("tokenizer.json", TOKENIZER);
	if (tokenizer_open_folder(&tok, test_scratch_folder(), &err)) {
		test_fail(__FILE__, __LINE__, "%s", err.text);
		exit(1);
	}
	return tok;
}

static struct chat_options options(void)
{
	return (struct chat_options){.folder = test_scratch_folder(),
		.name = "auto",
		.system = "",
		.prefill = "",
		.date = "",
		.bos = "auto"};
}

/* Opens the template and renders; the text, or the message of the error, in a buffer. */
static const char *render(const struct chat_options *o, const char *model_type,
	const struct chat_request *r)
{
	static char out[4096];
	struct tokenizer *tok = open_tokenizer();
	struct chat_template *t = NULL;
	struct text text = {0};

	out[0] = '\0';
	if (chat_template_open(&t, o, model_type, false, tok, &err) ||
		chat_template_render(t, r, &text, &err))
		snprintf(out, sizeof out, "error %d: %.4000s", err.code, err.text);
	else
		snprintf(out, sizeof out, "%.*s", (int)text.n, text.data);
	free(text.data);
	chat_template_close(t);
	tokenizer_close(tok);
	return out;
}

#define TURN(message) (&(struct chat_request){.text = (message)})
#define SHOWS(found, expected) \
	CHECK(strcmp((found), (expected)) == 0, "expected \"%s\", found \"%s\"", (expected), \
		(found))
#define SAYS(found, part) \
	CHECK(strncmp((found), "error", 5) == 0 && strstr((found), (part)), \
		"expected an error with \"%s\", found \"%s\"", (part), (found))

TEST(what_the_checkpoint_declares_is_rendered_whatever_its_model_type)
{
	const struct chat_options o = options();

	remove_all();
	put_config(CHATML);
	SHOWS(render(&o, "llama", TURN(" x ")),
		"<|im_start|>user\n x <|im_end|>\n<|im_start|>assistant\n");
	SHOWS(render(&o, "gemma2", TURN(" x ")),
		"<|im_start|>user\n x <|im_end|>\n<|im_start|>assistant\n");
}

TEST(the_template_file_goes_before_tokenizer_config_and_both_before_the_processors)
{
	struct chat_options o = options();
	struct tokenizer *tok = open_tokenizer();
	struct chat_template *t = NULL;

	remove_all();
	put("chat_template.json", "{\"chat_template\": \"C {{ messages[0].content }}\"}");
	SHOWS(render(&o, "llama", TURN("x")), "C x");
	put_config("B {{ messages[0].content }}");
	SHOWS(render(&o, "llama", TURN("x")), "B x");
	put("chat_template.jinja", "A {{ messages[0].content }}");
	SHOWS(render(&o, "llama", TURN("x")), "A x");
	REQUIRE_OK(chat_template_open(&t, &o, "llama", false, tok, &err), &err);
	SHOWS(t->name, "chat_template.jinja");
	SHOWS(t->origin,
		"declared by the checkpoint; not that of tokenizer_config.json, which differs");
	chat_template_close(t);
	tokenizer_close(tok);
}

TEST(of_several_templates_the_default_is_taken_or_the_one_that_is_named)
{
	struct chat_options o = options();

	remove_all();
	put("tokenizer_config.json",
		"{\"chat_template\": [{\"name\": \"default\", \"template\": \"D {{ messages[0].content }}\"},"
		"{\"name\": \"rag\", \"template\": \"R {{ messages[0].content }}\"}]}");
	SHOWS(render(&o, "llama", TURN("x")), "D x");
	o.name = "rag";
	SHOWS(render(&o, "llama", TURN("x")), "R x");
	o.name = "tools";
	SAYS(render(&o, "llama", TURN("x")),
		"the checkpoint declares (default, rag), or one of gemma2");
	o.name = "auto";
	put("tokenizer_config.json",
		"{\"chat_template\": [{\"name\": \"rag\", \"template\": \"R {{ messages[0].content }}\"}]}");
	SAYS(render(&o, "llama", TURN("x")),
		"expected the name of one of the chat templates that the checkpoint declares, of "
		"which none is the default: rag");
	put("tokenizer_config.json", "{\"chat_template\": 5}");
	SAYS(render(&o, "llama", TURN("x")), "expected a text or a list of named ones, found an");
	put("own.jinja", "own {{ messages[0].content }}");
	o.name = in_scratch("own.jinja");
	SHOWS(render(&o, "llama", TURN("x")), "own x");
	put_config(CHATML);
	mkdir(in_scratch("additional_chat_templates"), 0777);
	put("chat_template.jinja", "A {{ messages[0].content }}");
	put("additional_chat_templates/rag.jinja", "beside {{ messages[0].content }}");
	o.name = "rag";
	SHOWS(render(&o, "llama", TURN("x")), "beside x");
	o.name = "tools";
	SAYS(render(&o, "llama", TURN("x")), "the checkpoint declares (default, rag), or one of");
}

/* As transformers, which then has a template of each name, and none to take by itself. */
TEST(files_of_templates_go_before_any_in_json_and_without_a_default_one_is_named)
{
	struct chat_options o = options();

	remove_all();
	mkdir(in_scratch("additional_chat_templates"), 0777);
	put("additional_chat_templates/rag.jinja", "beside {{ messages[0].content }}");
	SAYS(render(&o, "gemma2", TURN("x")), "of which none is the default: rag");
	put_config(CHATML);
	SAYS(render(&o, "gemma2", TURN("x")), "of which none is the default: rag");
	o.name = "rag";
	SHOWS(render(&o, "gemma2", TURN("x")), "beside x");
	remove_all();
	put("chat_template.jinja", "A {{ messages[0].content }}");
	put("tokenizer_config.json",
		"{\"chat_template\": [{\"name\": \"rag\", \"template\": \"R {{ messages[0].content }}\"}]}");
	SAYS(render(&o, "gemma2", TURN("x")), "the checkpoint declares (default), or one of");
}

TEST(a_family_or_a_prefix_of_the_config_goes_before_what_is_declared)
{
	struct chat_options o = options();

	remove_all();
	put_config(CHATML);
	o.name = "plain";
	SHOWS(render(&o, "llama", TURN("x")), "x");
	o.name = "auto";
	o.prefix = "<";
	o.suffix = ">";
	SHOWS(render(&o, "llama", TURN("x")), "<x>");
}

TEST(a_system_text_is_the_records_else_the_configs_and_is_refused_where_it_would_not_show)
{
	struct chat_options o = options();
	struct chat_request own = {.text = "x", .system = "own"};

	remove_all();
	put_config(CHATML);
	o.system = "sys";
	SHOWS(render(&o, "qwen2", TURN("x")),
		"<|im_start|>system\nsys<|im_end|>\n<|im_start|>user\nx<|im_end|>\n<|im_start|>"
		"assistant\n");
	SHOWS(render(&o, "qwen2", &own),
		"<|im_start|>system\nown<|im_end|>\n<|im_start|>user\nx<|im_end|>\n<|im_start|>"
		"assistant\n");
	put_config(GEMMA2);
	SAYS(render(&o, "gemma2", TURN("x")), "System role not supported");
	o.system = "";
	SAYS(render(&o, "gemma2", &own), "no place for it");
	put_config("{% for m in messages if m.role == 'user' %}{{ m.content }}{% endfor %}");
	o.system = "sys";
	SAYS(render(&o, "llama", TURN("x")), "model.system: expected none");
	o.system = "";
	o.name = "gemma3"; /* a fixed family has a place too */
	SHOWS(render(&o, "gemma3", &own),
		"<bos><start_of_turn>user\nown\n\nx<end_of_turn>\n<start_of_turn>model\n");
}

TEST(conversations_are_rendered_turn_by_turn)
{
	struct chat_options o = options();
	const struct chat_request r = {.text = "z",
		.messages = "[{\"role\":\"user\",\"content\":\"x\"},"
			    "{\"role\":\"assistant\",\"content\":\" y \",\"name\":null},"
			    "{\"role\":\"user\",\"content\":\"z\"}]"};

	remove_all();
	put_config(GEMMA2);
	SHOWS(render(&o, "gemma2", &r),
		"<bos><start_of_turn>user\nx<end_of_turn>\n<start_of_turn>model\ny<end_of_turn>\n"
		"<start_of_turn>user\nz<end_of_turn>\n<start_of_turn>model\n");
	put_config(CHATML);
	o.system = "sys";
	SHOWS(render(&o, "qwen2", &r),
		"<|im_start|>system\nsys<|im_end|>\n<|im_start|>user\nx<|im_end|>\n"
		"<|im_start|>assistant\n y <|im_end|>\n<|im_start|>user\nz<|im_end|>\n"
		"<|im_start|>assistant\n");
	o.system = "";
	o.name = "gemma2";
	SAYS(render(&o, "gemma2", &r), "expected a prompt of one turn");
}

TEST(a_reply_begun_is_gone_on_with)
{
	struct chat_options o = options();
	const struct chat_request begun = {.text = "x",
		.messages = "[{\"role\":\"user\",\"content\":\"x\"},"
			    "{\"role\":\"assistant\",\"content\":\"Sure, \"}]"};

	remove_all();
	put_config(CHATML); /* keeps the space */
	SHOWS(render(&o, "qwen2", &begun),
		"<|im_start|>user\nx<|im_end|>\n<|im_start|>assistant\nSure, ");
	put_config(GEMMA2); /* strips it */
	SHOWS(render(&o, "gemma2", &begun),
		"<bos><start_of_turn>user\nx<end_of_turn>\n<start_of_turn>model\nSure,");
	o.prefill = "Well: ";
	SHOWS(render(&o, "gemma2", TURN("x")),
		"<bos><start_of_turn>user\nx<end_of_turn>\n<start_of_turn>model\nWell: ");
	SAYS(render(&o, "gemma2", &begun), "two beginnings of the reply");
	o.name = "gemma2";
	SHOWS(render(&o, "gemma2", TURN("x")),
		"<bos><start_of_turn>user\nx<end_of_turn>\n<start_of_turn>model\nWell: ");
	o.name = "auto";
	o.prefill = "";
	put_config("{% for m in messages if m.role == 'user' %}{{ m.content }}{% endfor %}");
	SAYS(render(&o, "gemma2", &begun), "shows the assistant's last message");
}

/* DeepSeek's drops a thought, others set it anew: replies would go on from another text. */
TEST(a_reply_begun_that_the_template_changes_is_refused)
{
	const struct chat_options o = options();
	const struct chat_request
		thought = {.text = "x",
			.messages = "[{\"role\":\"user\",\"content\":\"x\"},"
				    "{\"role\":\"assistant\",\"content\":"
				    "\" <t>y</t> z \"}]"},
		plain = {.text = "x",
			.messages = "[{\"role\":\"user\",\"content\":\"x\"},"
				    "{\"role\":\"assistant\",\"content\":\" z \"}]"};

	remove_all();
	put_config("{% for m in messages %}[{{ m.content.split('</t>')[-1] }}]{% endfor %}");
	SAYS(render(&o, "llama", &thought), "leaves it out or changes it");
	SHOWS(render(&o, "llama", &plain), "[x][ z ");
	put_config("{% for m in messages %}[{{ m.content | trim }}]{% endfor %}");
	SHOWS(render(&o, "llama", &thought), "[x][<t>y</t> z");
	put_config(
		"{% for m in messages %}[{{ m.content | replace('</t> ', '</t>\n') }}]{% endfor %}");
	SAYS(render(&o, "llama", &thought), "leaves it out or changes it");
}

/* Whatever a template makes of a message, it must make something of it. */
TEST(a_message_that_the_template_leaves_out_is_refused)
{
	static const char *const shows[] = {
		"{% for m in messages %}{{ m.role }} {{ m.content }};{% endfor %}",
		"{% for m in messages %}{{ m.content | upper }};{% endfor %}",
		"{% for m in messages %}{{ m.content | reverse }};{% endfor %}",
		"{% for m in messages %}{{ m.content | length }};{% endfor %}",
	};
	static const struct {
		const char *template, *message;
	} hides[] = {
		{"{% if messages | length < 2 %}{{ messages[0].content }}{% endif %}",
			"messages[0]: expected"},
		{"{% for m in messages if m.role != 'developer' %}{{ m.content }};{% endfor %}",
			"messages[0]: expected a chat template that shows the developer's message"},
		{"{{ messages[-1].content }}", "messages[0]: expected"},
		{"{% for m in messages %}{% if loop.index != 2 %}{{ m.content }};{% endif %}{% endfor %}",
			"messages[1]: expected a chat template that shows the user's message, found one "
			"that leaves it out"},
	};
	const struct chat_options o = options();
	const struct chat_request r = {.messages = "[{\"role\":\"developer\",\"content\":\"ab\"},"
						   "{\"role\":\"user\",\"content\":\"cd\"},"
						   "{\"role\":\"assistant\",\"content\":\"ef\"},"
						   "{\"role\":\"user\",\"content\":\"gh\"}]"};

	remove_all();
	for (size_t i = 0; i < sizeof shows / sizeof *shows; i++) {
		put_config(shows[i]);
		CHECK(strncmp(render(&o, "llama", &r), "error", 5) != 0, "%zu: %s", i, err.text);
	}
	for (size_t i = 0; i < sizeof hides / sizeof *hides; i++) {
		put_config(hides[i].template);
		SAYS(render(&o, "llama", &r), hides[i].message);
	}
}

TEST(a_thought_reaches_the_template_by_the_name_that_it_reads)
{
	static const char *const names[] = {"reasoning_content", "thinking", "reasoning"};
	const struct chat_options o = options();

	remove_all();
	put_config("{% for m in messages %}[{{ m.reasoning_content }},{{ m.thinking }},"
		   "{{ m.content }}]{% endfor %}");
	for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
		char messages[256];

		snprintf(messages, sizeof messages,
			"[{\"role\":\"user\",\"content\":\"x\"},{\"role\":\"assistant\",\"content\":"
			"\"y\",\"%s\":\"why\"},{\"role\":\"user\",\"content\":\"z\"}]",
			names[i]);
		SHOWS(render(&o, "llama", &(struct chat_request){.messages = messages}),
			"[,,x][why,why,y][,,z]");
	}
}

TEST(model_system_stands_in_for_a_developers_message_no_more_than_for_a_systems)
{
	static const char *const roles[] = {"system", "developer"};
	struct chat_options o = options();

	remove_all();
	put_config("{% for m in messages %}[{{ m.role }} {{ m.content }}]{% endfor %}");
	o.system = "sys";
	SHOWS(render(&o, "llama", TURN("x")), "[system sys][user x]");
	for (size_t i = 0; i < 2; i++) {
		char messages[256], expected[256];

		snprintf(messages, sizeof messages,
			"[{\"role\":\"%s\",\"content\":\"own\"},{\"role\":\"user\",\"content\":\"x\"}]",
			roles[i]);
		snprintf(expected, sizeof expected, "[%s own][user x]", roles[i]);
		SHOWS(render(&o, "llama", &(struct chat_request){.messages = messages}), expected);
		snprintf(messages, sizeof messages,
			"[{\"role\":\"user\",\"content\":\"x\"},{\"role\":\"%s\",\"content\":\"own\"},"
			"{\"role\":\"user\",\"content\":\"y\"}]",
			roles[i]);
		snprintf(expected, sizeof expected, "[user x][%s own][user y]", roles[i]);
		SHOWS(render(&o, "llama", &(struct chat_request){.messages = messages}), expected);
	}
}

TEST(variables_and_the_date_reach_the_template)
{
	static const char *const
		think[] = {"enable_thinking = false"},
		*const typo[] = {"think=1"}, *const python[] = {"effort= False"},
		*const quoted[] = {"effort=\"False\""}, *const twice[] = {"effort=1", "effort = 2"},
		*const own[] = {"messages=[]"}, *const bos[] = {"bos_token=B"},
		*const text[] = {"effort=high"}, *const bare[] = {"enable_thinking"};
	struct chat_options o = options();

	remove_all();
	put_config("{{ messages[0].content }} {{ enable_thinking }} {{ effort }} "
		   "{{ strftime_now('%d %b %Y') }}");
	SHOWS(render(&o, "qwen3", TURN("x")), "x   26 Jul 2024");
	o.n_variables = 1;
	o.variables = think;
	SHOWS(render(&o, "qwen3", TURN("x")), "x False  26 Jul 2024");
	o.variables = text;
	SHOWS(render(&o, "qwen3", TURN("x")), "x  high 26 Jul 2024");
	o.variables = typo;
	SAYS(render(&o, "qwen3", TURN("x")),
		"model.template_variables: expected variables that the template of "
		"tokenizer_config.json reads, found \"think\"");
	o.variables = bare;
	SAYS(render(&o, "qwen3", TURN("x")), "expected NAME=VALUE, found \"enable_thinking\"");
	o.variables = python;
	SAYS(render(&o, "qwen3", TURN("x")), "expected true, false, null, or \"False\" in quotes");
	o.variables = quoted;
	SHOWS(render(&o, "qwen3", TURN("x")), "x  False 26 Jul 2024");
	o.variables = own;
	SAYS(render(&o, "qwen3", TURN("x")),
		"expected none that each prompt sets, found \"messages\"");
	o.variables = twice;
	o.n_variables = 2;
	SAYS(render(&o, "qwen3", TURN("x")), "expected each once, found \"effort\" twice");
	o.n_variables = 1;
	put_config("{{ bos_token }}{{ messages[0].content }}");
	o.variables = bos; /* the tokenizer's can be said anew */
	SHOWS(render(&o, "qwen3", TURN("x")), "Bx");
	o.variables = think;
	o.name = "qwen3";
	SAYS(render(&o, "qwen3", TURN("x")), "model.template_variables: expected none for qwen3");
}

TEST(the_date_is_a_day_and_only_where_the_template_asks_for_it)
{
	static const char *const wrong[] = {"today", "2024-13-45", "2023-02-29", "2024-7-02",
		"2024- 7- 2", "2024-07-26 ", "0000-01-01"};
	struct chat_options o = options();

	remove_all();
	put_config("{{ messages[0].content }} {{ strftime_now('%d %b %Y') }}");
	o.date = "2024-02-29";
	SHOWS(render(&o, "llama", TURN("x")), "x 29 Feb 2024");
	for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
		o.date = wrong[i];
		SAYS(render(&o, "llama", TURN("x")),
			"model.date: expected a day YYYY-MM-DD, found");
	}
	put_config(CHATML);
	o.date = "2024-02-29";
	SAYS(render(&o, "llama", TURN("x")),
		"model.date: expected none for the template of tokenizer_config.json");
	o.name = "plain";
	SAYS(render(&o, "llama", TURN("x")), "model.date: expected none for the template of plain");
}

TEST(a_prefix_beside_another_template_is_refused)
{
	struct chat_options o = options();

	remove_all();
	put_config(CHATML);
	o.prefix = "<";
	o.suffix = ">";
	o.name = "own.jinja";
	SAYS(render(&o, "llama", TURN("x")),
		"model.template: expected auto or a fixed family beside model.prefix");
	o.name = "gemma2";
	SHOWS(render(&o, "llama", TURN("x")), "<x>");
}

TEST(a_template_that_cannot_be_run_is_refused_by_its_file)
{
	const struct chat_options o = options();

	remove_all();
	put("chat_template.jinja", "{% for m in messages %}{{ m.content }}");
	SAYS(render(&o, "llama", TURN("x")), "chat_template.jinja");
	put("chat_template.jinja", "the same for all");
	SAYS(render(&o, "llama", TURN("x")), "that shows the user's message");
	put("chat_template.jinja", "\xff");
	SAYS(render(&o, "llama", TURN("x")), "expected UTF-8");
}

/* The message shows what is rendered, and no byte behind it. */
TEST(a_template_that_shows_no_message_is_refused_with_what_it_shows)
{
	const struct chat_options o = options();

	remove_all();
	put("chat_template.jinja", "the same for all");
	SAYS(render(&o, "llama", TURN("x")), "that renders \"the same for all\" for any");
	put("chat_template.jinja", "");
	SAYS(render(&o, "llama", TURN("x")), "that renders \"\" for any");
}

/* What stands behind a zero byte would be lost. */
TEST(templates_with_a_zero_byte_and_empty_lists_of_templates_are_refused)
{
	const struct chat_options o = options();
	FILE *file;

	remove_all();
	put("tokenizer_config.json",
		"{\"chat_template\": \"{{ messages[0].content }}\\u0000 more\"}");
	SAYS(render(&o, "llama", TURN("x")),
		"chat_template: expected a text, found one that holds");
	put("tokenizer_config.json", "{\"chat_template\": []}");
	SAYS(render(&o, "llama", TURN("x")), "a list of named ones, found an empty list");
	file = fopen(in_scratch("chat_template.jinja"), "wb");
	REQUIRE(file, "cannot write");
	fwrite("{{ messages[0].content }}\0 more", 1, 31, file);
	fclose(file);
	SAYS(render(&o, "llama", TURN("x")),
		"chat_template.jinja: expected a text, found a zero byte at offset 25");
}

TEST(prompts_have_the_bos_tokens_that_the_template_spells_and_what_model_bos_adds)
{
	static const struct {
		const char *template, *bos;
		int32_t ids[4]; /* of "x"; -1 behind the last */
	} cases[] = {
		{"{{ bos_token }}{{ messages[0].content }}", "auto", {0, 2, -1}},
		{"{{ messages[0].content }}", "auto", {2, -1}},
		{"{{ messages[0].content }}", "none", {2, -1}},
		{"{{ messages[0].content }}", "one", {0, 2, -1}},
		{"{{ bos_token }}{{ messages[0].content }}", "one", {0, 2, -1}},
		{"{{ bos_token }}{{ messages[0].content }}", "double", {0, 0, 2, -1}},
		{"{{ bos_token }}{{ bos_token }}{{ messages[0].content }}", "auto", {0, 0, 2, -1}},
	};

	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		struct chat_options o = options();
		struct chat_template *t = NULL;
		struct token_ids ids = {0};
		struct tokenizer *tok;
		size_t n = 0;

		remove_all();
		put_config(cases[i].template);
		tok = open_tokenizer();
		o.bos = cases[i].bos;
		REQUIRE_OK(chat_template_open(&t, &o, "any", false, tok, &err), &err);
		REQUIRE_OK(chat_template_encode(t, tok, TURN("x"), &ids, &err), &err);
		while (cases[i].ids[n] >= 0)
			n++;
		CHECK(ids.n == n && memcmp(ids.data, cases[i].ids, n * sizeof *ids.data) == 0,
			"case %zu: %zu ids", i, ids.n);
		free(ids.data);
		chat_template_close(t);
		tokenizer_close(tok);
	}
}

/* So that the released code's habits, which are those of the family, hold for it. */
TEST(a_template_that_renders_as_its_family_is_known_as_such)
{
	struct chat_options o = options();
	struct chat_template *t = NULL;
	struct tokenizer *tok;

	remove_all();
	put_config(GEMMA2);
	tok = open_tokenizer();
	REQUIRE_OK(chat_template_open(&t, &o, "gemma2", false, tok, &err), &err);
	CHECK(t->family == chat_family_named("gemma2"), "it is not");
	SHOWS(t->prefix, "<bos><start_of_turn>user\n");
	SHOWS(t->suffix, "<end_of_turn>\n<start_of_turn>model\n");
	SHOWS(t->released_prefix, "<bos>");
	chat_template_close(t);
	put_config("{{ bos_token }}Q: {{ messages[0].content }} A:");
	REQUIRE_OK(chat_template_open(&t, &o, "gemma2", false, tok, &err), &err);
	CHECK(!t->family, "another is");
	SHOWS(t->prefix, "<bos>Q: ");
	SHOWS(t->suffix, " A:");
	SHOWS(t->released_prefix, "<bos>");
	chat_template_close(t);
	tokenizer_close(tok);
}
