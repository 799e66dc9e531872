#!/bin/sh
# Interface texts -> C: idl.sh FILE... prints lib/idl.c with every text as a string.
set -eu
echo '/* Made by lib/idl.sh from the .varlink files. */'
echo '#include "lib/idl.h"'
echo
echo '#include <stddef.h>'
echo
echo 'const struct idl idl_all[] = {'
for file; do
	name=${file##*/}
	printf '\t{ "%s",\n' "${name%.varlink}"
	sed -e 's/\\/\\\\/g' -e 's/"/\\"/g' -e 's/^/\t  "/' -e 's/$/\\n"/' "$file"
	printf '\t},\n'
done
echo '	{ NULL, NULL },'
echo '};'
