# SPDX-License-Identifier: MIT
#
# A result file as R sees it, through Bioconductor's rhdf5 (Debian: apt-get install r-bioc-rhdf5).
#
#   Rscript tests/test_result_file.R results/tiny_gemma2_ap.h5
#
# R counts dimensions from the fastest, so [position, layer, d_model] arrives as d_model x layer x
# position. Exit status: 0 passed, 1 failed, 2 usage, 77 skipped.

arguments <- commandArgs(trailingOnly = TRUE)
if (length(arguments) != 1) {
  message("usage: Rscript tests/test_result_file.R RESULT.h5")
  quit(status = 2)
}
if (!suppressWarnings(suppressMessages(requireNamespace("rhdf5", quietly = TRUE)))) {
  cat("skipped: rhdf5 is not installed (Debian: apt-get install r-bioc-rhdf5)\n")
  quit(status = 77)
}
path <- arguments[1]

# References between datasets and their scales are of a type that rhdf5 does not read; it says so
# at every dataset.
read <- function(name, ...) suppressWarnings(rhdf5::h5read(path, name, ...))
attributes_of <- function(name) suppressWarnings(rhdf5::h5readAttributes(path, name))

listing <- suppressWarnings(rhdf5::h5ls(path, all = TRUE))
names_in_file <- ifelse(listing$group == "/", paste0("/", listing$name),
                        paste0(listing$group, "/", listing$name))
has <- function(name) name %in% names_in_file
dims_of <- function(name) as.integer(strsplit(listing$dim[names_in_file == name], " x ")[[1]])

tests <- list(
  "the file says what it is" = function() {
    root <- attributes_of("/")
    stopifnot(root$title == "saengine results", root$schema_version == 1)
    stopifnot(nchar(root$config) > 0, grepl("experiment = \\[", root$config))
  },
  "every dataset can be read" = function() {
    for (name in names_in_file[listing$otype == "H5I_DATASET"]) {
      value <- read(name)
      stopifnot(length(value) == prod(dims_of(name)))
    }
  },
  "every dataset has long_name and units" = function() {
    for (name in names_in_file[listing$otype == "H5I_DATASET"]) {
      a <- attributes_of(name)
      if (is.null(a$long_name) || nchar(a$long_name) == 0 || is.null(a$units))
        stop(name)
    }
  },
  "the direction is numbers of the dimensions of the schema, reversed" = function() {
    if (!has("/direction/v")) return()
    v <- read("direction/v")
    stopifnot(is.numeric(v), length(dim(v)) == 3)
    stopifnot(dim(v) == c(length(read("d_model")), length(read("layer")),
                          length(read("direction/position"))))
    a <- attributes_of("direction")
    chosen <- v[, a$layer + 1, which(read("direction/position") == a$position)]
    stopifnot(all(is.finite(chosen)), sum(chosen^2) > 0)
    stopifnot(attributes_of("direction/v")$units == "1")
  },
  "texts are texts, in UTF-8" = function() {
    text <- as.vector(read("prompts/text"))
    stopifnot(is.character(text), length(text) == length(read("prompts/set")))
    Encoding(text) <- "UTF-8"
    stopifnot(all(validUTF8(text)), all(nchar(text) > 0))
  },
  "ragged arrays end at their length" = function() {
    for (group in listing$group[listing$name == "token_end"]) {
      end <- read(paste0(group, "/token_end"))
      stopifnot(!is.unsorted(end))
      stopifnot(utils::tail(c(0, end), 1) == length(read(paste0(group, "/token_ids"))))
    }
  },
  "a prompt's tokens begin with the prefix that all share" = function() {
    ids <- read("prompts/token_ids")
    end <- read("prompts/token_end")
    n <- attributes_of("prompts")$n_prefix
    start <- c(0, utils::head(end, -1))
    for (k in seq_len(n)) stopifnot(length(unique(ids[start + k])) == 1)
  },
  "feature sets are sorted by score" = function() {
    for (group in listing$group[listing$name == "score" & grepl("/global$", listing$group)])
      stopifnot(!is.unsorted(rev(as.vector(read(paste0(group, "/score"))))))
  },
  "the summary is the mean of the scores" = function() {
    condition <- as.vector(read("summary/condition"))
    refusal <- as.vector(read("summary/refusal"))
    for (i in which(!is.nan(refusal))) {
      # One byte without sign is what R calls raw.
      column <- as.integer(read(paste0("scores/", condition[i], "/refusal")))
      stopifnot(abs(mean(column) - refusal[i]) < 1e-12)
    }
  }
)

failed <- 0
for (name in names(tests)) {
  outcome <- tryCatch({ tests[[name]](); NULL }, error = conditionMessage)
  if (!is.null(outcome)) {
    failed <- failed + 1
    cat(sprintf("FAILED %s: %s\n", name, outcome))
  }
}
cat(sprintf("%d of %d passed\n", length(tests) - failed, length(tests)))
quit(status = if (failed > 0) 1 else 0)
