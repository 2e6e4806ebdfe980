# cmake -DOUT=x.c -DINCLUDE=folder/internal.h -DPREFIX=name -DFILES=a;b -P embed.cmake
# Makes a .c that holds each file as bytes: <PREFIX><stem> (NUL ended) and <PREFIX><stem>_len.
set(text "#include \"${INCLUDE}\"\n")
foreach(file IN LISTS FILES)
  get_filename_component(stem ${file} NAME_WE)
  file(READ ${file} hex HEX)
  string(LENGTH "${hex}" digits)
  math(EXPR len "${digits} / 2")
  string(REGEX REPLACE "([0-9a-f][0-9a-f])" "'\\\\x\\1'," bytes "${hex}")
  string(APPEND text "const char ${PREFIX}${stem}[] = {${bytes}0};\nconst size_t ${PREFIX}${stem}_len = ${len};\n")
endforeach()
file(WRITE ${OUT} "${text}")
