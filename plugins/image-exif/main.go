// Command image-exif is a MetaFleet plugin that reads what cameras and editors write into pictures.
package main

import metafleet "github.com/metafleet/metafleet/worker-sdk/go"

func main() { metafleet.Run(imageExif{}) }
