/* SPDX-License-Identifier: MIT
 *
 * methods.h - the ways of choosing features, by the names that configs and result files use.
 */
#ifndef SAENGINE_METHODS_H
#define SAENGINE_METHODS_H

enum method {
	METHOD_COSSIM_AP, /* the paper's: candidates by cosine, chosen by effect */
	METHOD_AP,        /* all features by effect */
	METHOD_COSSIM,    /* by cosine alone */
	METHOD_ACTDIFF,   /* by difference of activation, harmful and harmless */
	METHOD_RANDOM,    /* as many per layer as cossim_ap, among features that occur */
	N_METHODS
};

/* NULL-terminated. */
extern const char *const method_names[N_METHODS + 1];

#endif
