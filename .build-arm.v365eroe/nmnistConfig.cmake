# find_package(nmnist CONFIG PATHS <this folder>), then link hqc::nmnist.
if(NOT TARGET hqc::nmnist)
  add_library(hqc::nmnist STATIC IMPORTED)
  set_target_properties(hqc::nmnist PROPERTIES
    IMPORTED_LOCATION "${CMAKE_CURRENT_LIST_DIR}/libnmnist.a"
    IMPORTED_LINK_INTERFACE_LANGUAGES "C"
    INTERFACE_INCLUDE_DIRECTORIES "${CMAKE_CURRENT_LIST_DIR}")
endif()
